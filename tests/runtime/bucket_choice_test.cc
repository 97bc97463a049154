#include "runtime/bucket_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/far_memory_backend.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kElements = 124'000'000;

std::vector<BucketChoice> choices(const CommSection& comm, int workers, int per_node, const Backend& backend) {
  std::vector<BucketChoice> all(static_cast<std::size_t>(workers));
  run_workers(workers, per_node, [&](Communicator& world) {
    all[static_cast<std::size_t>(world.rank())] = choose_buckets(comm, kElements, backend, world);
  });
  return all;
}

class BucketChoiceTest : public testing::Test {
 protected:
  std::unique_ptr<Backend> cpu_ = make_backend({.name = "cpu", .threads = 1});
};

TEST_F(BucketChoiceTest, TakesAGivenSizeUnmeasured) {
  for (const BucketChoice& choice : choices({.bucket_mib = 0.5}, 4, 2, *cpu_)) {
    EXPECT_EQ(choice.bytes, kMiB / 2);
    EXPECT_EQ(choice.note, "");
  }
}

TEST_F(BucketChoiceTest, MeasuresNothingOnOneNode) {
  for (const int workers : {1, 3}) {
    for (const BucketChoice& choice : choices({}, workers, workers, *cpu_)) {
      EXPECT_EQ(choice.bytes, 8 * kMiB);
      EXPECT_EQ(choice.note, "");
    }
  }
}

TEST_F(BucketChoiceTest, MeasuresNothingForDevices) {
  const FarMemoryBackend device(1);
  for (const BucketChoice& choice : choices({}, 2, 1, device)) {
    EXPECT_EQ(choice.bytes, 8 * kMiB);
    EXPECT_EQ(choice.note, "");
  }
}

TEST_F(BucketChoiceTest, IsTheSameOnEveryWorkerOfSeveralNodes) {
  for (const auto& [workers, per_node] : std::vector<std::pair<int, int>>{{2, 1}, {4, 2}, {5, 2}}) {
    const std::vector<BucketChoice> all = choices({}, workers, per_node, *cpu_);
    for (const BucketChoice& choice : all) {
      EXPECT_EQ(choice.bytes, all.front().bytes);
      EXPECT_EQ(choice.note, all.front().note);
    }
    const int nodes = (workers + per_node - 1) / per_node;
    EXPECT_THAT(all.front().note, StartsWith(std::to_string(nodes) + " nodes: latency "));
    EXPECT_THAT(all.front().note, HasSubstr(" MB/s each way, "));
    std::ostringstream chosen;
    chosen << "buckets of " << static_cast<double>(all.front().bytes) / static_cast<double>(kMiB)
           << " MiB (comm.bucket_mib)";
    EXPECT_THAT(all.front().note, HasSubstr(chosen.str()));
  }
}

TEST_F(BucketChoiceTest, CountsWorkersThatShareNoMemoryAsNodes) {
  EXPECT_THAT(choices({.share_memory = false}, 3, 3, *cpu_).front().note, StartsWith("3 nodes: "));
}

TEST_F(BucketChoiceTest, FollowsTheNetworkAndTheCoordinators) {
  const LinkCost link{.piece_seconds = 2e-5, .bytes_per_second = 1e9};
  const auto bytes = [&](const CommSection& comm, std::int64_t nodes, std::int64_t workers) {
    return bucket_bytes(comm, kElements, nodes, workers, link);
  };
  EXPECT_EQ(bytes({}, 1, 4), 8 * kMiB);
  EXPECT_EQ(bytes({}, 4, 4), 8 * kMiB) << "sqrt(4 x 496 MB x 20 us x 1 GB/s) = 6.3 MB";
  EXPECT_EQ(bytes({}, 4, 16), 16 * kMiB) << "every worker is a coordinator";
  EXPECT_EQ(bytes({.coordinators = 1}, 4, 16), 4 * kMiB);
  EXPECT_EQ(bytes({.coordinators = 99}, 4, 16), bytes({}, 4, 16)) << "no more than there are";
  EXPECT_EQ(bytes({.bucket_mib = 3.0}, 4, 16), 3 * kMiB);
}

}  // namespace
}  // namespace ballast
