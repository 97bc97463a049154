// Tests what launcher/bench/figures.h reads and computes, and the command lines of `ballast bench`.
#include "launcher/bench/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/bench/figures.h"
#include "launcher/command_line.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Call>
std::string usage_error(const Call& call) {
  try {
    (void)call();
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

std::string help_of(std::vector<std::string> arguments) {
  return std::get<TextCommand>(parse_command_line(std::move(arguments))).text;
}

TEST(Bench, ReadsShapes) {
  EXPECT_THAT(shapes_named("1024x3072x768,1x2x3"), ElementsAre(LayerShape{1024, 3072, 768}, LayerShape{1, 2, 3}));
  for (const char* wrong : {"3x4", "0x1x1", "axbxc", "1x2x3x4", "-1x2x3"}) {
    EXPECT_THAT(usage_error([&] { return shapes_named(wrong); }), HasSubstr(std::string("'") + wrong + "'"));
  }
}

TEST(Bench, ReadsSizes) {
  EXPECT_THAT(sizes_named("8,64K,3M,1G,gpt2"), ElementsAre(8, 64 << 10, 3 << 20, 1 << 30, kGpt2Size));
  for (const char* wrong : {"6", "0", "K", "-8", "1T", "8.5M", "gpt3", "1000000000000000"}) {
    EXPECT_THAT(usage_error([&] { return sizes_named(wrong); }), HasSubstr(std::string("'") + wrong + "'"));
  }
}

TEST(Bench, ReadsPrecisions) {
  EXPECT_THAT(precisions_named("both"), ElementsAre(DType::kF32, DType::kBF16));
  EXPECT_THAT(precisions_named("bf16"), ElementsAre(DType::kBF16));
  EXPECT_THAT(usage_error([] { return precisions_named("f64"); }), HasSubstr("'f64' is not f32, bf16 or both"));
}

TEST(Bench, TakesTheMedianOfEachWorkerAndTheExtremesOfAll) {
  EXPECT_EQ(spread_of({4, 1, 3, 2}).median, 2.5);
  run_workers(2, [](Communicator& world) {
    const std::vector<double> mine = world.rank() == 0 ? std::vector<double>{1, 2, 4} : std::vector<double>{4, 8, 5};
    const Rates rates = rates_of(world, 20, mine);
    EXPECT_THAT(rates.per_worker, ElementsAre(10, 4));
    EXPECT_EQ(rates.sum(), 14);
    EXPECT_EQ(rates.mean(), 7);
    EXPECT_EQ(rates.low, 2.5);
    EXPECT_EQ(rates.high, 20);
  });
}

TEST(Bench, CommandLineNamesTheBenchmarkAndItsOptions) {
  const auto command = std::get<BenchCommand>(parse_command_line(
      {"bench", "gemm", "--shapes", "1x2x3", "--precision=bf16", "--seconds", "0.5", "--threads", "2", "--json"}));
  EXPECT_EQ(command.bench, "gemm");
  EXPECT_EQ(command.shapes, "1x2x3");
  EXPECT_EQ(command.precision, "bf16");
  EXPECT_EQ(command.seconds, 0.5);
  EXPECT_EQ(command.threads, 2);
  EXPECT_TRUE(command.json);
}

TEST(Bench, HelpNamesEveryBenchmark) {
  for (const Bench& bench : benches()) {
    const std::string name = bench.name;
    EXPECT_THAT(help_of({"help", "bench"}), HasSubstr("\n  " + name + ' '));
    EXPECT_THAT(help_of({"help", "bench", name}), HasSubstr("ballast bench " + name));
    EXPECT_EQ(help_of({"bench", name, "--help"}), help_of({"help", "bench", name}));
  }
}

TEST(Bench, SaysWhatIsWrongInOneLine) {
  const auto error = [](std::vector<std::string> arguments) {
    return usage_error([&] { return parse_command_line(arguments); });
  };
  EXPECT_EQ(error({"bench"}), "bench: no benchmark; 'ballast help bench' lists them");
  EXPECT_EQ(error({"bench", "gem"}), "bench: unknown benchmark 'gem'; did you mean 'gemm'?");
  EXPECT_EQ(error({"bench", "gemm", "--shpes", "1"}),
            "bench gemm: unknown argument '--shpes'; did you mean '--shapes'?");
  EXPECT_THAT(error({"bench", "memory", "--seconds", "soon"}), HasSubstr("\"soon\" is not a number"));
}

}  // namespace
}  // namespace ballast
