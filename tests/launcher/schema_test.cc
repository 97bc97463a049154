#include "launcher/schema.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "launcher/config.h"
#include "launcher/toml_reader.h"

namespace ballast {
namespace {

// Every key with a value that is not its default, in the form in which it is printed.
const std::map<std::string, std::string>& other_values() {
  static const std::map<std::string, std::string> kValues = {
      {"job.dir", "\"runs/an \\\"odd\\\" \\\\ name\""},
      {"job.seed", "9223372036854775807"},
      {"job.steps", "12"},
      {"job.epochs", "2.5"},
      {"job.resume", "\"never\""},
      {"job.stop_after", "\"3h50min\""},
      {"model.name", "\"gpt\""},
      {"model.dropout", "0.1"},
      {"model.initializer", "\"he\""},
      {"model.features", "3"},
      {"model.hidden", "[64, 32]"},
      {"model.classes", "100"},
      {"model.image_rows", "32"},
      {"model.image_columns", "33"},
      {"model.image_channels", "3"},
      {"model.channels", "[8, 9, 10]"},
      {"model.depth", "5"},
      {"model.layers", "12"},
      {"model.heads", "6"},
      {"model.width", "384"},
      {"model.context", "1024"},
      {"model.vocabulary", "50257"},
      {"data.format", "\"tokens\""},
      {"data.train", "\"data/train.bin\""},
      {"data.validation", "0.25"},
      {"data.train_labels", "\"labels\""},
      {"data.validation_labels", "\"more labels\""},
      {"data.shuffle", "false"},
      {"data.chunk", "512"},
      {"data.samples", "99"},
      {"batch.size", "48"},
      {"batch.shards", "6"},
      {"batch.micro", "4"},
      {"optimizer.name", "\"sgd\""},
      {"optimizer.lr", "3e-04"},
      {"optimizer.weight_decay", "0.1"},
      {"optimizer.betas", "[0.8, 0.999]"},
      {"optimizer.momentum", "0.9"},
      {"optimizer.nesterov", "true"},
      {"optimizer.decay", "0.9"},
      {"optimizer.epsilon", "1e-06"},
      {"optimizer.clip", "1.0"},
      {"optimizer.l1", "1e-07"},
      {"optimizer.l2", "2e-07"},
      {"outer.every", "50"},
      {"outer.lr", "0.5"},
      {"outer.momentum", "0.8"},
      {"outer.nesterov", "false"},
      {"outer.fragments", "4"},
      {"outer.delay", "5"},
      {"outer.merge", "0.5"},
      {"schedule.name", "\"cosine\""},
      {"schedule.warmup", "100"},
      {"schedule.final", "0.05"},
      {"schedule.every", "30"},
      {"schedule.factor", "0.5"},
      {"precision.compute", "\"bf16\""},
      {"compute.backend", "\"cpu\""},
      {"compute.threads", "2"},
      {"compute.plugins", "\"/opt/ballast/lib\""},
      {"compute.tf32", "true"},
      {"comm.bucket_mib", "0.5"},
      {"comm.coordinators", "3"},
      {"comm.share_memory", "false"},
      {"comm.sharding", "\"gradients\""},
      {"comm.compression", "\"topk\""},
      {"comm.keep", "0.05"},
      {"comm.groups", "2"},
      {"comm.reduction", "\"native\""},
      {"memory.recompute", "\"block\""},
      {"evaluate.every", "200"},
      {"evaluate.batches", "20"},
      {"evaluate.patience", "5"},
      {"checkpoint.every", "\"10min\""},
      {"checkpoint.keep", "1"},
      {"checkpoint.copy", "false"},
      {"checkpoint.background", "false"},
      {"log.every", "1"},
      {"log.progress", "\"lines\""},
      {"log.statistics", "50"},
      {"watch.timeout", "\"1min30s\""},
      {"watch.collectives", "false"},
      {"watch.values", "7"},
      {"cluster.nodes", "64"},
      {"cluster.workers", "8"},
      {"cluster.flops", "1e+12"},
      {"cluster.memory_bandwidth", "2e+11"},
      {"cluster.memory_gib", "512.0"},
      {"cluster.efficiency", "0.7"},
      {"cluster.network_bandwidth", "1.25e+10"},
      {"cluster.latency", "2e-06"},
      {"cluster.message_seconds", "1e-06"},
      {"cluster.network_overhead", "1e-09"},
      {"cluster.disk_bandwidth", "2e+09"},
      {"cluster.mtbf_hours", "50000.0"},
      {"cluster.watts", "700.0"},
      {"cluster.price", "2.5"},
  };
  return kValues;
}

Value value_of(const std::string& id) { return read_bare_value(other_values().at(id)); }

TEST(Schema, HasAnotherValueForEveryKeyHere) {
  std::set<std::string> keys, tested;
  for (const Key& key : schema()) keys.insert(key.id());
  for (const auto& [id, value] : other_values()) tested.insert(id);
  EXPECT_EQ(keys, tested);
  EXPECT_EQ(keys.size(), schema().size()) << "a key is declared twice";
}

TEST(Schema, EveryKeyStoresItsOwnValueAndNoOther) {
  for (const Key& changed : schema()) {
    JobConfig config;
    ASSERT_EQ(changed.set(config, value_of(changed.id())), "") << changed.id();
    for (const Key& key : schema()) {
      const std::string expected = key.id() == changed.id() ? other_values().at(key.id()) : key.print(JobConfig{});
      EXPECT_EQ(key.print(config), expected) << key.id() << " after setting " << changed.id();
    }
    EXPECT_NE(changed.print(config), changed.print(JobConfig{})) << changed.id();
  }
}

TEST(Schema, DefaultsAreWithinTheirOwnRanges) {
  for (const Key& key : schema()) {
    JobConfig config;
    EXPECT_EQ(key.set(config, read_bare_value(key.print(JobConfig{}))), "") << key.id();
  }
}

TEST(Schema, EveryKeyBelongsToASectionAndHasHelp) {
  std::set<std::string> sections;
  for (const SectionText& section : schema_sections()) sections.insert(section.name);
  for (const Key& key : schema()) {
    EXPECT_TRUE(sections.contains(key.section)) << key.id();
    EXPECT_FALSE(key.help.empty()) << key.id();
    EXPECT_FALSE(key.type.empty()) << key.id();
  }
}

TEST(Schema, StoresWhereTheRuntimeReads) {
  JobConfig config;
  for (const Key& key : schema()) EXPECT_EQ(key.set(config, value_of(key.id())), "");
  EXPECT_EQ(config.job.seed, 9223372036854775807);
  EXPECT_EQ(config.job.stop_after, 3 * 3600 + 50 * 60);
  EXPECT_EQ(config.model.dropout, 0.1F);
  EXPECT_EQ(config.model.channels, (std::vector<std::int64_t>{8, 9, 10}));
  EXPECT_EQ(config.data.fraction, 0.25);
  EXPECT_EQ(config.data.validation, "");
  EXPECT_EQ(config.optimizer.betas[1], 0.999);
  EXPECT_EQ(config.schedule.final_fraction, 0.05);
  EXPECT_EQ(config.checkpoint.every_seconds, 600.0);
  EXPECT_EQ(config.checkpoint.every_steps, 0);
  EXPECT_EQ(config.comm.coordinators, 3);
}

TEST(Schema, ReadsBothFormsOfKeysThatHaveTwo) {
  JobConfig config;
  EXPECT_EQ(find_key("data", "validation")->set(config, read_bare_value("\"valid.txt\"")), "");
  EXPECT_EQ(config.data.validation, "valid.txt");
  EXPECT_EQ(find_key("checkpoint", "every")->set(config, read_bare_value("500")), "");
  EXPECT_EQ(config.checkpoint.every_steps, 500);
  EXPECT_EQ(find_key("comm", "coordinators")->set(config, read_bare_value("all")), "");
  EXPECT_EQ(config.comm.coordinators, 0);
  config.comm.bucket_mib = 2.0;
  EXPECT_EQ(find_key("comm", "bucket_mib")->set(config, read_bare_value("auto")), "");
  EXPECT_EQ(find_key("comm", "bucket_mib")->print(config), "\"auto\"");
  EXPECT_EQ(find_key("comm", "bucket_mib")->set(config, read_bare_value("4")), "");
  EXPECT_EQ(config.comm.bucket_mib, 4.0);
  EXPECT_EQ(find_key("job", "stop_after")->set(config, read_bare_value("90")), "");
  EXPECT_EQ(config.job.stop_after, 90.0);
}

TEST(Schema, SaysWhatABucketSizeCanBe) {
  JobConfig config;
  const auto complaint = [&](const char* value) {
    return find_key("comm", "bucket_mib")->set(config, read_bare_value(value));
  };
  EXPECT_EQ(complaint("large"), "expected \"auto\", or a number, got the text \"large\"");
  EXPECT_EQ(complaint("0"), "0 is out of range: allowed is greater than 0 and at most 4096");
  EXPECT_EQ(complaint("-1"), "-1 is out of range: allowed is greater than 0 and at most 4096");
  EXPECT_EQ(config.comm.bucket_mib, JobConfig{}.comm.bucket_mib);
}

}  // namespace
}  // namespace ballast
