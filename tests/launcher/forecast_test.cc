#include "launcher/plan/forecast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/bucket_size.h"
#include "launcher/plan.h"
#include "launcher/plan/drawing.h"
#include "launcher/plan/forecast_text.h"
#include "launcher/plan/planned_job.h"

namespace ballast {
namespace {

using testing::HasSubstr;

/// 2^20 weights: blocks and nodes divide them evenly.
JobConfig even_job(std::int64_t nodes) {
  JobConfig config;
  config.model.hidden = {};
  config.model.features = 1023;
  config.model.classes = 1024;
  config.batch.size = 32;
  config.batch.shards = 16;
  config.cluster.nodes = nodes;
  config.cluster.flops = 1e11;
  config.cluster.memory_bandwidth = 2e10;
  config.cluster.memory_gib = 16;
  return config;
}

TEST(Forecast, SendsWhatThePlanSays) {
  for (const int nodes : {2, 4, 8}) {
    const JobConfig config = even_job(nodes);
    const Forecast forecast = make_forecast(config, 0.0);
    const auto wire = static_cast<double>(make_plan(config, nodes, nodes).wire_bytes);
    EXPECT_NEAR(forecast.step.bytes_out / wire, 1.0, 0.02) << nodes;
  }
}

TEST(Forecast, SendsWhatThePlanSaysOfCodesAndExchanges) {
  for (const char* compression : {"none", "bf16", "int8", "int4", "topk", "sign"}) {
    for (const std::int64_t every : {0, 10}) {
      for (const std::int64_t groups : {16, 4, 2}) {
        JobConfig config = even_job(4);
        config.comm.compression = compression;
        config.comm.groups = groups;
        config.outer.every = every;
        if (every == 0 && groups < 4) continue;  // a group lies on one node
        const Forecast forecast = make_forecast(config, 0.0);
        const auto wire = static_cast<double>(make_plan(config, 4, 4).wire_bytes);
        EXPECT_NEAR(forecast.step.bytes_out / wire, 1.0, 0.03) << compression << ' ' << every << ' ' << groups;
      }
    }
  }
}

TEST(Forecast, ScalesFromOneNodeToSixteenThousand) {
  const Forecast forecast = make_forecast(even_job(2), 0.0);
  EXPECT_EQ(forecast.scaling.front().nodes, 1);
  EXPECT_EQ(forecast.scaling.back().nodes, 16384);
  for (const Forecast::Scale& scale : forecast.scaling) {
    EXPECT_GT(scale.efficiency, 0.0);
    EXPECT_LE(scale.efficiency, 1.0 + 1e-9);
    EXPECT_LE(scale.best_bucket.seconds, scale.seconds);
    EXPECT_EQ(scale.fixed_batch_efficiency.has_value(), scale.nodes <= 16) << "16 shards";
  }
}

TEST(Forecast, LeavesBucketsToTrainingWhereTheJobDoes) {
  JobConfig config = even_job(4);
  config.cluster.message_seconds = 1.6e-3;
  const LinkCost link{.piece_seconds = 1.6e-3, .bytes_per_second = config.cluster.network_bandwidth};
  const std::int64_t gradient = 4 << 20;
  const Forecast automatic = make_forecast(config, 0.0);
  ASSERT_EQ(auto_bucket_bytes(gradient, 4, link), 2 << 20);
  EXPECT_EQ(automatic.buckets[0].mib, 2.0);
  EXPECT_THAT(forecast_text(automatic), HasSubstr(", now 2 (auto)"));
  EXPECT_EQ(automatic.scaling[0].best_bucket.seconds, automatic.scaling[0].seconds) << "one bucket size is as another";

  config.comm.bucket_mib = 2.0;
  const Forecast given = make_forecast(config, 0.0);
  EXPECT_EQ(given.step.seconds, automatic.step.seconds);
  EXPECT_THAT(forecast_text(given), testing::Not(HasSubstr("(auto)")));

  config.comm.bucket_mib = 0.0;
  config.compute.backend = "cuda";
  EXPECT_EQ(make_forecast(config, 0.0).buckets[0].mib, 8.0) << "devices exchange without MPI's messages";
  config.compute.backend = "cpu";
  config.cluster.nodes = 1;
  EXPECT_EQ(make_forecast(config, 0.0).buckets[0].mib, 8.0) << "nothing travels";
}

TEST(Forecast, ChoosesBucketsAnewForEveryNumberOfNodes) {
  JobConfig config = even_job(4);
  config.cluster.message_seconds = 1.6e-3;
  const Ownership four{4, 1, 0}, many{64, 1, 0};
  EXPECT_LT(planned_bucket_bytes(config, 1 << 20, four), planned_bucket_bytes(config, 1 << 20, many));
  config.comm.share_memory = false;
  config.cluster.workers = 4;
  const Ownership apart{16, 1, 0};
  JobConfig together = config;
  together.comm.share_memory = true;
  EXPECT_LT(planned_bucket_bytes(config, 1 << 20, apart), planned_bucket_bytes(together, 1 << 20, apart))
      << "four workers that are nodes of their own share a link";
}

TEST(Forecast, KnowsTheIntervalsOfYoungAndDaly) {
  EXPECT_DOUBLE_EQ(young_interval(2.0, 100.0), 20.0);
  EXPECT_NEAR(daly_interval(2.0, 100.0), 20.0 * (1.0 + 0.1 / 3.0 + 0.01 / 9.0) - 2.0, 1e-12);
  EXPECT_DOUBLE_EQ(daly_interval(300.0, 100.0), 100.0) << "a checkpoint takes longer than the machine lives";
}

TEST(Forecast, SavesLessOftenWhereLessFails) {
  JobConfig config = even_job(4);
  config.checkpoint.background = false;
  EXPECT_EQ(make_forecast(config, 0.0).saving.daly_seconds, 0.0);
  config.cluster.mtbf_hours = 100;
  const Forecast::Saving often = make_forecast(config, 0.0).saving;
  EXPECT_DOUBLE_EQ(often.mean_seconds_between_failures, 100 * 3600.0 / 4);
  EXPECT_NEAR(often.young_seconds, young_interval(often.write_seconds, 90000.0), 1e-9);
  config.cluster.mtbf_hours = 400;
  EXPECT_NEAR(make_forecast(config, 0.0).saving.young_seconds, 2.0 * often.young_seconds, 1e-9);
}

TEST(Forecast, WithoutACopyTrainingWaitsForASlowDiskOnly) {
  JobConfig config = even_job(4);
  config.checkpoint.copy = false;
  EXPECT_EQ(make_plan(config, 4, 4).memory.snapshot, 0);
  config.cluster.disk_bandwidth = 1e12;
  EXPECT_EQ(make_forecast(config, 0.0).saving.stall_seconds, 0.0);
  config.cluster.disk_bandwidth = 1e5;
  const Forecast slow = make_forecast(config, 0.0);
  EXPECT_NEAR(slow.saving.stall_seconds, slow.saving.write_seconds - slow.step.seconds, 1e-9);
}

TEST(Forecast, PricesABudget) {
  JobConfig config = even_job(4);
  config.cluster.watts = 500;
  config.cluster.price = 3;
  const Forecast forecast = make_forecast(config, 32000.0);
  ASSERT_TRUE(forecast.budget);
  EXPECT_DOUBLE_EQ(forecast.budget->steps, 1000.0);
  EXPECT_NEAR(forecast.budget->seconds, 1000.0 * forecast.step.seconds, 1e-9);
  EXPECT_NEAR(forecast.budget->kilowatt_hours, 0.5 * 4 * forecast.budget->seconds / 3600.0, 1e-12);
  EXPECT_NEAR(forecast.budget->cost, 3.0 * 4 * forecast.budget->seconds / 3600.0, 1e-12);
}

TEST(Forecast, NamesOnlyWhatFitsWhereTheJobDoesNot) {
  JobConfig config = even_job(2);
  config.model.name = "gpt";
  config.batch.shards = 4;
  config.data.format = "synthetic";
  EXPECT_TRUE(make_forecast(config, 0.0).fits());
  EXPECT_TRUE(make_forecast(config, 0.0).remedies.empty());
  const std::int64_t needs = make_plan(config, 2, 2).node_memory;
  config.cluster.memory_gib = 0.6 * static_cast<double>(needs) / (1 << 30);
  const Forecast forecast = make_forecast(config, 0.0);
  EXPECT_FALSE(forecast.fits());
  ASSERT_FALSE(forecast.remedies.empty());
  for (const Forecast::Remedy& remedy : forecast.remedies) {
    EXPECT_LE(static_cast<double>(remedy.node_memory), 0.6 * static_cast<double>(needs)) << remedy.change;
  }
  EXPECT_THAT(forecast_text(forecast), HasSubstr("DOES NOT FIT"));
}

TEST(Forecast, SaysWhenNothingFits) {
  JobConfig config = even_job(2);
  config.cluster.memory_gib = 1e-6;
  EXPECT_THAT(forecast_text(make_forecast(config, 0.0)), HasSubstr("Nothing that was tried fits"));
}

TEST(Forecast, EveryLevelOfShardingNeedsLessThanTheOneBefore) {
  JobConfig config = even_job(4);
  config.model.name = "gpt";
  config.comm.bucket_mib = 0.05;
  const Forecast forecast = make_forecast(config, 0.0);
  ASSERT_EQ(forecast.levels.size(), 3U);
  EXPECT_LT(forecast.levels[1].memory.gradients, forecast.levels[0].memory.gradients);
  EXPECT_LT(forecast.levels[1].node, forecast.levels[0].node);
  EXPECT_EQ(forecast.levels[2].memory.gradients, forecast.levels[1].memory.gradients);
  EXPECT_LT(forecast.levels[2].memory.values, forecast.levels[1].memory.values);
}

TEST(Forecast, ShardsNothingMoreOnDevices) {
  JobConfig config = even_job(4);
  config.compute.backend = "cuda";
  EXPECT_EQ(make_forecast(config, 0.0).levels.size(), 1U);
}

TEST(Forecast, OffersToGatherValuesWhereThereAreSeveralNodes) {
  JobConfig config = even_job(4);
  config.model.name = "gpt";
  config.data.format = "synthetic";
  config.comm.bucket_mib = 0.05;
  const auto offers = [&] {
    config.cluster.memory_gib = 0;
    const auto nodes = static_cast<int>(config.cluster.nodes);
    JobConfig least = config;
    least.comm.sharding = "values";
    config.cluster.memory_gib = 1.01 * static_cast<double>(make_plan(least, nodes, nodes).node_memory) / (1 << 30);
    std::string text;
    for (const Forecast::Remedy& remedy : make_forecast(config, 0.0).remedies) text += remedy.change + "\n";
    return text;
  };
  EXPECT_THAT(offers(), HasSubstr("comm.sharding=values"));
  config.cluster.nodes = 1;
  EXPECT_THAT(offers(), testing::Not(HasSubstr("comm.sharding=values")));
}

TEST(Forecast, DrawsEveryLaneAndBothCurves) {
  const std::string svg = draw_forecast(make_forecast(even_job(4), 0.0), "a < b");
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  for (const char* words :
       {">compute<", ">memory<", ">link out<", ">link in<", ">send sums<", ">update<", ">16,384<", "a &lt; b"}) {
    EXPECT_THAT(svg, HasSubstr(words));
  }
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace ballast
