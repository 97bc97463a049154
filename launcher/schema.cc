#include "launcher/schema.h"

#include "launcher/duration.h"
#include "launcher/number_text.h"
#include "launcher/section_keys.h"

namespace ballast {
namespace {

// An integer or number of seconds, or a text such as "3h50m".
std::string read_duration(const Value& value, double& out) {
  if (value.text() == nullptr) {
    std::string complaint = read_number(value, between(0.0, 1e9), out);
    return complaint.starts_with("expected") ? expected("seconds, or a duration such as \"3h50m\"", value) : complaint;
  }
  const std::optional<double> seconds = parse_duration(*value.text());
  if (!seconds) return expected("a duration such as \"3h50m\", \"10min\" or \"90s\"", value);
  out = *seconds;
  return "";
}

void add_job(std::vector<Key>& all) {
  SectionKeys<JobSection> keys("job", &JobConfig::job, all);
  const auto folder = [](JobSection& job, const Value& value) {
    std::string dir;
    std::string complaint = read_text(value, {}, dir);
    if (!complaint.empty()) return complaint;
    if (dir.empty()) return expected("the path of a folder", value);
    job.dir = dir;
    return std::string();
  };
  keys.special("dir", "text", "", {"", "Run folder: config.toml, metrics.jsonl, log and checkpoints/ go there"}, folder,
               [](const JobSection& job) { return toml_string(job.dir); });
  keys.integer("seed", &JobSection::seed, at_least(0), {"", "Key of every random number: weights, shuffling, dropout"});
  keys.integer("steps", &JobSection::steps, at_least(0),
               {"steps", "Length of the run; 0: `epochs` says it. Exactly one of the two is needed to train"});
  keys.number("epochs", &JobSection::epochs, at_least(0),
              {"passes over the training data", "Length of the run; 0: `steps` says it"});
  keys.text("resume", &JobSection::resume, {},
            {"",
             "\"auto\": go on from the run folder's newest checkpoint, if there is one; \"never\": start afresh, "
             "refused where checkpoints exist; or the path of a checkpoint"});
  keys.special(
      "stop_after", "duration or number", "",
      {"seconds",
       "Checkpoint and stop with exit code 75 after this wall time, "
       "for batch systems with a time limit: \"3h50m\"; 0: never"},
      [](JobSection& job, const Value& value) { return read_duration(value, job.stop_after); },
      [](const JobSection& job) { return toml_string(format_duration(job.stop_after)); });
}

void add_model(std::vector<Key>& all) {
  SectionKeys<ModelConfig> keys("model", &JobConfig::model, all);
  keys.text("name", &ModelConfig::name, {"mlp", "convnet", "gpt"},
            {"", "Perceptron, residual convolutional network, or GPT-2"});
  keys.number("dropout", &ModelConfig::dropout, fraction_below_one(),
              {"", "Share of activations set to zero in training"});
  keys.text("initializer", &ModelConfig::initializer, {"auto", "xavier", "he", "normal"},
            {"", "First weights; \"auto\" is what the model's paper uses"});
  keys.integer("features", &ModelConfig::features, between(1, 1e9), {"", "mlp: numbers in a sample"});
  keys.integers("hidden", &ModelConfig::hidden, between(1, 1e9), 0, {"", "mlp: widths of the hidden layers"});
  keys.integer("classes", &ModelConfig::classes, between(2, 1e9), {"", "mlp, convnet: classes to tell apart"});
  keys.integer("image_rows", &ModelConfig::image_rows, between(1, 65536), {"pixels", "convnet: height of an image"});
  keys.integer("image_columns", &ModelConfig::image_columns, between(1, 65536),
               {"pixels", "convnet: width of an image"});
  keys.integer("image_channels", &ModelConfig::image_channels, between(1, 65536),
               {"", "convnet: 1 for grey, 3 for colour"});
  keys.integers("channels", &ModelConfig::channels, between(1, 65536), 3,
                {"", "convnet: channels of the three stages"});
  keys.integer("depth", &ModelConfig::depth, between(1, 1000),
               {"", "convnet: residual blocks in each stage; 3 is ResNet-20"});
  keys.integer("layers", &ModelConfig::layers, between(1, 10000), {"", "gpt: transformer blocks"});
  keys.integer("heads", &ModelConfig::heads, between(1, 10000), {"", "gpt: attention heads; they divide `width`"});
  keys.integer("width", &ModelConfig::width, between(1, 1e6), {"", "gpt: channels of the residual stream"});
  keys.integer("context", &ModelConfig::context, between(1, 1e6), {"tokens", "gpt: positions in a sample"});
  keys.integer("vocabulary", &ModelConfig::vocabulary, between(2, 1e7), {"", "gpt: different tokens; 256 for bytes"});
}

void add_memory(std::vector<Key>& all) {
  SectionKeys<ModelConfig> keys("memory", &JobConfig::model, all);
  keys.text("recompute", &ModelConfig::recompute, {"none", "attention", "block"},
            {"",
             "What backward computes again instead of keeping it: the attention of each block (gpt), or the whole of "
             "each block (gpt, convnet). Less memory, more time, the same results"});
}

std::string set_validation(DataSection& data, const Value& value) {
  if (value.text() != nullptr) {
    if (value.text()->empty()) return expected("a path in quotes, or a fraction", value);
    data.validation = *value.text();
    data.fraction = DataSection{}.fraction;
    return "";
  }
  std::string complaint = read_number(value, fraction_below_one(), data.fraction);
  if (complaint.starts_with("expected")) return expected("a path in quotes, or a fraction", value);
  if (complaint.empty()) data.validation.clear();
  return complaint;
}

std::string print_validation(const DataSection& data) {
  return data.validation.empty() ? toml_number(number_text(data.fraction)) : toml_string(data.validation);
}

void add_data(std::vector<Key>& all) {
  SectionKeys<DataSection> keys("data", &JobConfig::data, all);
  keys.text("format", &DataSection::format, {"text", "tokens", "idx", "synthetic"},
            {"",
             "Bytes of any file; uint16 tokens with or without llm.c's header; images and labels as MNIST has them, "
             "gzipped or not; or made up"});
  keys.text(
      "train", &DataSection::train, {},
      {"",
       "Path of the training data; needed unless the format is \"synthetic\". For text and tokens also a folder, or "
       "a pattern with * and ? in its last part: the files in the order of their names"});
  keys.special("validation", "text or number", "at least 0 and below 1",
               {"", "The same for the validation data, or the fraction that is split off the end of the training data"},
               set_validation, print_validation);
  keys.text("train_labels", &DataSection::train_labels, {},
            {"", "idx: path of the labels; empty: found beside the images"});
  keys.text("validation_labels", &DataSection::validation_labels, {},
            {"", "idx: path of the validation labels; empty: found beside the images"});
  keys.boolean("shuffle", &DataSection::shuffle, {"", "Visit the training samples in a new order every epoch"});
  keys.integer("chunk", &DataSection::chunk, between(0, 1e9),
               {"samples",
                "For data larger than memory: shuffle chunks of so many neighbouring samples, and samples within 16 "
                "chunks. Each shard reads a part of the data of its own. 0: shuffle samples over all the data"});
  keys.integer("samples", &DataSection::samples, between(1, 1e15), {"samples", "synthetic: size of the data set"});
}

void add_batch(std::vector<Key>& all) {
  SectionKeys<BatchSection> keys("batch", &JobConfig::batch, all);
  keys.integer("size", &BatchSection::size, between(1, 1e9), {"samples", "Samples per step, all workers together"});
  keys.integer(
      "shards", &BatchSection::shards, between(0, 65536),
      {"",
       "Equal parts of the batch, and the largest number of workers. Results depend on it, never on the number of "
       "workers. 0: the first start's workers, rounded up to a power of two, then kept by the checkpoint"});
  keys.integer("micro", &BatchSection::micro, between(0, 1e9),
               {"samples", "Samples that go through the model at once; less needs less memory. 0: a whole shard"});
}

void add_optimizer(std::vector<Key>& all) {
  SectionKeys<OptimizerSection> keys("optimizer", &JobConfig::optimizer, all);
  keys.text("name", &OptimizerSection::name, {"sgd", "adagrad", "rmsprop", "adam", "adamw"}, {"", "Update rule"});
  keys.number("lr", &OptimizerSection::lr, positive(), {"", "Learning rate, at the schedule's height"});
  keys.number("weight_decay", &OptimizerSection::weight_decay, at_least(0),
              {"", "Decoupled decay of matrices and filters: each step they shrink by this times the learning rate"});
  keys.numbers("betas", &OptimizerSection::betas, fraction_below_one(), {"", "adam, adamw: decay of the two averages"});
  keys.number("momentum", &OptimizerSection::momentum, fraction_below_one(),
              {"", "sgd: share of the last step's motion kept"});
  keys.boolean("nesterov", &OptimizerSection::nesterov, {"", "sgd: look ahead along the momentum"});
  keys.number("decay", &OptimizerSection::decay, fraction_below_one(),
              {"", "rmsprop: of the average of squared gradients"});
  keys.number("epsilon", &OptimizerSection::epsilon, positive(),
              {"", "Added to the root that gradients are divided by"});
  keys.number("clip", &OptimizerSection::clip, at_least(0), {"", "Largest norm of the whole gradient; 0: no clipping"});
  keys.number("l1", &OptimizerSection::l1, at_least(0), {"", "L1 regularisation of matrices and filters"});
  keys.number("l2", &OptimizerSection::l2, at_least(0),
              {"", "L2 regularisation of matrices and filters, through the gradient"});
}

void add_outer(std::vector<Key>& all) {
  SectionKeys<OuterSection> keys("outer", &JobConfig::outer, all);
  keys.integer("every", &OuterSection::every, between(0, 1e9),
               {"steps",
                "Each group of shards (comm.groups) trains a copy of its own for so many steps before all are brought "
                "together: for slow links. 0: all shards train one copy"});
  keys.number("lr", &OuterSection::lr, positive(), {"", "Learning rate of the update by the mean difference"});
  keys.number("momentum", &OuterSection::momentum, fraction_below_one(),
              {"", "Share of the last update's motion kept"});
  keys.boolean("nesterov", &OuterSection::nesterov, {"", "Look ahead along the momentum"});
  keys.integer("fragments", &OuterSection::fragments, between(1, 10000),
               {"", "Parts of the weights that are exchanged one after the other, spread over `every` steps"});
  keys.integer(
      "delay", &OuterSection::delay, between(0, 1e9),
      {"steps", "That an exchange has before its outcome is used; training goes on meanwhile. Less than `every`"});
  keys.number("merge", &OuterSection::merge, Range{0, 1, true},
              {"", "How far a copy moves to the outcome: 1 replaces it"});
}

void add_schedule(std::vector<Key>& all) {
  SectionKeys<ScheduleSection> keys("schedule", &JobConfig::schedule, all);
  keys.text("name", &ScheduleSection::name, {"constant", "step", "cosine"},
            {"", "How the learning rate changes; all warm up"});
  keys.integer("warmup", &ScheduleSection::warmup, at_least(0), {"steps", "Linear rise from zero"});
  keys.number("final", &ScheduleSection::final_fraction, between(0, 1),
              {"", "cosine: last learning rate, as a fraction of `lr`"});
  keys.integer("every", &ScheduleSection::every, at_least(1), {"steps", "step: from one drop to the next"});
  keys.number("factor", &ScheduleSection::factor, Range{0, 1, true},
              {"", "step: what a drop multiplies the learning rate by"});
}

std::string set_coordinators(CommSection& comm, const Value& value) {
  if (value.text() != nullptr && *value.text() == "all") {
    comm.coordinators = 0;
    return "";
  }
  if (value.integer() == nullptr) return expected("\"all\", or an integer", value);
  return read_integer(value, at_least(1), comm.coordinators);
}

std::string set_bucket_mib(CommSection& comm, const Value& value) {
  if (value.text() != nullptr && *value.text() == "auto") {
    comm.bucket_mib = 0.0;
    return "";
  }
  if (value.number() == nullptr && value.integer() == nullptr) return expected("\"auto\", or a number", value);
  return read_number(value, Range{0, 4096, true}, comm.bucket_mib);
}

std::string print_bucket_mib(const CommSection& comm) {
  return comm.bucket_mib == 0.0 ? "\"auto\"" : toml_number(number_text(comm.bucket_mib));
}

void add_machine(std::vector<Key>& all) {
  SectionKeys<PrecisionSection> precision("precision", &JobConfig::precision, all);
  precision.text("compute", &PrecisionSection::compute, {"f32", "bf16"},
                 {"", "What forward and backward compute in. Master weights, optimizer state and sums are always f32"});
  SectionKeys<ComputeSection> compute("compute", &JobConfig::compute, all);
  compute.text("backend", &ComputeSection::backend, {"auto", "cpu", "cuda"},
               {"", "Hardware; \"auto\" takes GPUs where every worker has one of its own, otherwise the processor"});
  compute.integer("threads", &ComputeSection::threads, between(0, 4096),
                  {"threads per worker", "0: the cores this worker may use. Results do not depend on it"});
  compute.text("plugins", &ComputeSection::plugins, {},
               {"", "Folder of ballast_cuda.so and ballast_nccl.so; empty: lib/ballast beside the program's folder"});
  compute.boolean("tf32", &ComputeSection::tf32,
                  {"", "cuda: matrix products of f32 may round their factors to TF32: faster, three digits"});
  SectionKeys<CommSection> comm("comm", &JobConfig::comm, all);
  comm.special("bucket_mib", "\"auto\" or number", "greater than 0 and at most 4096",
               {"MiB",
                "Gradients are reduced in pieces of this size while backward still runs. \"auto\": as large as the "
                "network between the nodes asks for, measured at the start; 8 on one node and on GPUs"},
               set_bucket_mib, print_bucket_mib);
  comm.special("coordinators", "\"all\" or integer", "1 or more",
               {"workers", "How many workers sum gradients and keep optimizer state; 1: rank 0 alone"},
               set_coordinators,
               [](const CommSection& c) { return c.coordinators == 0 ? "\"all\"" : std::to_string(c.coordinators); });
  comm.boolean("share_memory", &CommSection::share_memory, {"", "Workers of one node share one copy of the weights"});
  comm.text("sharding", &CommSection::sharding, {"optimizer", "gradients", "values"},
            {"",
             "What is kept for own slices only: less memory, the same bits. \"gradients\": a worker sums a bucket as "
             "soon as every worker has it and frees it; \"values\": a node also gathers the weights that other nodes "
             "own before a layer reads them, forward and backward, and frees them. Both on processors only"});
  comm.text(
      "compression", &CommSection::compression, {"none", "bf16", "int8", "int4", "topk", "sign"},
      {"",
       "What gradients are sent as. All but \"none\" change the results, though never with the number of workers; "
       "all but \"bf16\" add what was left out to the next step's gradient"});
  comm.number("keep", &CommSection::keep, Range{0, 1, true}, {"", "\"topk\": the share of the gradient that is sent"});
  comm.integer(
      "groups", &CommSection::groups, between(0, 65536),
      {"",
       "Equal runs of neighbouring shards whose gradients are compressed as one; each lies on one node. Results "
       "depend on it. 0: every shard"});
  comm.text("reduction", &CommSection::reduction, {"ordered", "native"},
            {"",
             "cuda: how gradients are added. \"ordered\" gives the same bits on any number of GPUs; \"native\" leaves "
             "it to NCCL: faster, but the bits then depend on the number of GPUs"});
}

std::string set_checkpoint_every(CheckpointSection& checkpoint, const Value& value) {
  std::int64_t steps = 0;
  double seconds = 0.0;
  const bool timed = value.text() != nullptr;
  std::string complaint = timed ? read_duration(value, seconds) : read_integer(value, at_least(0), steps);
  if (complaint.starts_with("expected")) return expected("steps, or a duration such as \"10min\"", value);
  if (!complaint.empty()) return complaint;
  checkpoint.every_steps = steps;
  checkpoint.every_seconds = seconds;
  return "";
}

std::string print_checkpoint_every(const CheckpointSection& checkpoint) {
  if (checkpoint.every_seconds > 0.0) return toml_string(format_duration(checkpoint.every_seconds));
  return std::to_string(checkpoint.every_steps);
}

void add_watching(std::vector<Key>& all) {
  SectionKeys<EvaluateSection> evaluate("evaluate", &JobConfig::evaluate, all);
  evaluate.integer("every", &EvaluateSection::every, at_least(0),
                   {"steps", "Measure the validation loss; 0: only at the end"});
  evaluate.integer("batches", &EvaluateSection::batches, at_least(0),
                   {"global batches", "Length of an evaluation while training; 0: the whole validation set"});
  evaluate.integer(
      "patience", &EvaluateSection::patience, at_least(0),
      {"evaluations", "Stop early after so many without a better loss, keeping the best checkpoint; 0: never"});
  SectionKeys<CheckpointSection> checkpoint("checkpoint", &JobConfig::checkpoint, all);
  checkpoint.special("every", "integer or duration", "0 or more",
                     {"steps, or time", "Save: 500, or \"10min\"; 0: only at the end"}, set_checkpoint_every,
                     print_checkpoint_every);
  checkpoint.integer("keep", &CheckpointSection::keep, between(1, 1e6), {"checkpoints", "Older ones are removed"});
  checkpoint.boolean("background", &CheckpointSection::background, {"", "Write while training goes on"});
  checkpoint.boolean(
      "copy", &CheckpointSection::copy,
      {"",
       "Write from a copy. false: from the weights themselves, so no memory is needed for it, but the next "
       "update waits until they are written"});
  SectionKeys<LogSection> log("log", &JobConfig::log, all);
  log.integer("every", &LogSection::every, at_least(1), {"steps", "Between lines on the console and in metrics.jsonl"});
  log.text("progress", &LogSection::progress, {"auto", "bar", "lines", "none"},
           {"", "\"auto\": a bar on a terminal, otherwise lines"});
  log.integer("statistics", &LogSection::statistics, at_least(0),
              {"steps", "Between statistics of every layer's gradients and updates; 0: as `every`"});
}

void add_supervision(std::vector<Key>& all) {
  SectionKeys<WatchSection> watch("watch", &JobConfig::watch, all);
  watch.special(
      "timeout", "duration or number", "",
      {"seconds",
       "How long a worker may wait for another before the job ends with exit code 79 and the culprit's name; six times "
       "as long up to the end of the first step and while saving; 0: for ever"},
      [](WatchSection& section, const Value& value) { return read_duration(value, section.timeout); },
      [](const WatchSection& section) { return toml_string(format_duration(section.timeout)); });
  watch.boolean(
      "collectives", &WatchSection::collectives,
      {"", "Before each collective the workers compare what they are about to do; exit code 76 if they differ"});
  watch.integer(
      "values", &WatchSection::values, at_least(0),
      {"steps",
       "Between comparisons of the nodes' copies of the weights, which comm.sharding = \"values\" has none of; "
       "0: never"});
}

void add_cluster(std::vector<Key>& all) {
  SectionKeys<ClusterSection> keys("cluster", &JobConfig::cluster, all);
  using C = ClusterSection;
  keys.integer("nodes", &C::nodes, between(0, 1e6), {"", "Nodes; 0: no cluster is described"});
  keys.integer("workers", &C::workers, between(1, 4096), {"", "Workers of each node"});
  keys.number("flops", &C::flops, at_least(0),
              {"operations/s", "Of a worker in large products while all workers are at it; 0: measured here"});
  keys.number("memory_bandwidth", &C::memory_bandwidth, at_least(0),
              {"bytes/s", "Of a node's memory, all workers together; 0: measured here"});
  keys.number("memory_gib", &C::memory_gib, at_least(0), {"GiB", "Memory of a node; 0: as much as here"});
  keys.number("efficiency", &C::efficiency, Range{0, 1, true},
              {"", "Share of `flops` and `memory_bandwidth` that forward and backward reach: see `bench step`"});
  keys.number("network_bandwidth", &C::network_bandwidth, positive(),
              {"bytes/s", "Payload that a node's link carries, in each direction at once"});
  keys.number("latency", &C::latency, at_least(0), {"seconds", "Until a message of no bytes is there"});
  keys.number("message_seconds", &C::message_seconds, at_least(0),
              {"seconds", "That a node spends on each message of at most 256 KiB besides its bytes"});
  keys.number("network_overhead", &C::network_overhead, at_least(0),
              {"seconds", "Of one of the workers' cores for each byte sent or received; 0: others do it"});
  keys.number("disk_bandwidth", &C::disk_bandwidth, positive(), {"bytes/s", "That a node writes checkpoints at"});
  keys.number("mtbf_hours", &C::mtbf_hours, at_least(0),
              {"hours", "Mean time between failures of one node; 0: it never fails"});
  keys.number("watts", &C::watts, at_least(0), {"W", "That a node draws"});
  keys.number("price", &C::price, at_least(0), {"money", "Of a node for an hour"});
}

std::vector<Key> make_schema() {
  std::vector<Key> keys;
  add_job(keys);
  add_model(keys);
  add_data(keys);
  add_batch(keys);
  add_optimizer(keys);
  add_outer(keys);
  add_schedule(keys);
  add_machine(keys);
  add_memory(keys);
  add_watching(keys);
  add_supervision(keys);
  add_cluster(keys);
  return keys;
}

}  // namespace

const std::vector<SectionText>& schema_sections() {
  static const std::vector<SectionText> kSections = {
      {"job", "The run: where, how long, from where"},
      {"model", "What is trained. Keys that belong to another model are ignored"},
      {"data", "What it is trained on"},
      {"batch", "How a step's samples are cut up"},
      {"optimizer", "How weights are updated and kept healthy"},
      {"outer", "Copies of the weights that groups of shards train by themselves (DiLoCo)"},
      {"schedule", "How the learning rate changes"},
      {"precision", "Number formats"},
      {"compute", "Hardware of a worker"},
      {"comm", "How workers share the work"},
      {"memory", "What is kept for backward"},
      {"evaluate", "Validation while training"},
      {"checkpoint", "Saving"},
      {"log", "What is shown and recorded"},
      {"watch", "Workers that hang or disagree"},
      {"cluster", "Machines that `ballast plan` predicts a step for; training does not look at it"}};
  return kSections;
}

const std::vector<Key>& schema() {
  static const std::vector<Key> kKeys = make_schema();
  return kKeys;
}

}  // namespace ballast
