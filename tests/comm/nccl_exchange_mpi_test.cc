// The split all-reduce on the emulated CUDA backend, over the emulated NCCL: EMULATED is the folder of both plugins.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/device/open_exchange.h"
#include "tests/comm/training_steps.h"
#include "tests/support/mpi_world.h"

namespace ballast {
namespace {

std::unique_ptr<Backend> cpu() { return make_backend({.name = "cpu", .threads = 1}); }
std::unique_ptr<Backend> device() { return make_backend({.name = "cuda", .plugins = EMULATED}); }

StepsOptions on_devices(int shards, bool bf16) {
  return {.split = {.shards = shards, .bucket_bytes = 1500, .plugins = EMULATED, .timeout_seconds = 50},
          .bf16 = bf16,
          .steps = 2,
          .backend = device};
}

TEST(NcclExchange, GivesTheBitsOfTheCpuBackend) {
  struct Case {
    int shards, coordinators;
    bool bf16;
  };
  for (const Case& c : {Case{mpi_world().size(), 0, false}, Case{4, 0, true}, Case{7, 0, true}, Case{7, 1, false}}) {
    StepsOptions options = on_devices(c.shards, c.bf16);
    options.backend = cpu;
    const std::vector<std::uint32_t> expected = training_steps(mpi_world(), options);
    options.backend = device;
    options.split.coordinators = c.coordinators;
    EXPECT_TRUE(training_steps(mpi_world(), options) == expected)
        << c.shards << " shards, coordinators " << c.coordinators << ", bf16 " << c.bf16;
  }
}

TEST(NcclExchange, ComesCloseWithItsOwnReduction) {
  for (const int coordinators : {0, 1}) {
    StepsOptions options = on_devices(7, false);
    const std::vector<std::uint32_t> expected = expected_steps(options);
    options.split.coordinators = coordinators;
    options.split.native = true;
    const std::vector<std::uint32_t> steps = training_steps(mpi_world(), options);
    EXPECT_EQ(steps.size(), expected.size());
    float greatest = 0.0F;
    float apart = 0.0F;
    for (std::size_t i = 0; i < std::min(steps.size(), expected.size()); ++i) {
      const auto number = std::bit_cast<float>(expected[i]);
      greatest = std::max(greatest, std::fabs(number));
      apart = std::max(apart, std::fabs(number - std::bit_cast<float>(steps[i])));
    }
    EXPECT_LT(apart, 1e-5F * greatest);
  }
}

TEST(NcclExchange, PublishesBehindDownloadsThatBeganBefore) {
  const int workers = mpi_world().size(), rank = mpi_world().rank();
  const std::vector<Block> blocks = {{0, 1000}, {1000, 2000}, {2000, 3000}, {3000, 4000}};
  const auto backend = device();
  const auto split = make_split_allreduce(mpi_world(), *backend, 4000, blocks, false,
                                          {.shards = workers, .plugins = EMULATED, .timeout_seconds = 50});
  const auto set_mine = [&](float number) {
    const std::vector<float> numbers(4000, number);
    for (const auto& [bucket, owner, first, count, begin, end] : split->my_slices()) {
      const auto part =
          std::span(numbers).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
      backend->upload(std::as_bytes(part), split->values().subspan(begin, end - begin));
    }
    backend->synchronize();
  };
  set_mine(1.0F);
  split->publish();
  set_mine(2.0F);
  std::vector<float> seen(4000, 1.0F);
  for (const auto& [bucket, owner, first, count, begin, end] : split->slices()) {
    if (owner == rank) continue;
    const auto part = std::span(seen).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    backend->download(split->values().subspan(begin, end - begin), std::as_writable_bytes(part));
  }
  split->publish();
  backend->synchronize();
  EXPECT_EQ(std::ranges::count(seen, 1.0F), 4000);
}

TEST(NcclExchange, NamesRankAndSecondsWhenAWorkerDoesNotCome) {
  if (mpi_world().size() == 1) GTEST_SKIP() << "one worker waits for nobody";
  const auto group = mpi_world().split(0);
  if (group->rank() == group->size() - 1) {  // takes NCCL's id, and then does nothing with it
    std::array<std::byte, 128> id{};
    group->broadcast(id, 0);
  } else {
    const auto backend = device();
    try {
      static_cast<void>(open_exchange(*group, *backend, EMULATED, 0.1));
      ADD_FAILURE() << "nobody was missed";
    } catch (const Error& error) {
      const std::string rank = "rank " + std::to_string(group->rank());
      EXPECT_NE(std::string(error.what()).find(rank + ": no answer from the other workers for 0.1 s"),
                std::string::npos)
          << error.what();
      EXPECT_EQ(error.code(), ExitCode::kHang);
    }
  }
  group->barrier();
}

}  // namespace
}  // namespace ballast
