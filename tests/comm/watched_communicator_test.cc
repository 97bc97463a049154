// Threads as workers whose calls are watched: nothing changes for workers that agree, and every way to disagree is
// named on all of them before memory is touched.
#include "comm/watched_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <mutex>

#include "compute/error.h"
#include "tests/comm/communicator_contract.h"
#include "tests/comm/training_steps.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

using Body = std::function<void(Communicator& world, FlightRecorder& recorder)>;

void run_watched(int workers, const Body& body, bool agree = true) {
  run_workers(workers, [&](Communicator& plain) {
    FlightRecorder recorder({.rank = plain.rank(), .workers = plain.size()});
    WatchedCommunicator world(plain, recorder, agree);
    body(world, recorder);
  });
}

/// What the workers say, by rank; "" for one that found nothing.
std::vector<std::string> complaints(int workers, const Body& body) {
  std::vector<std::string> texts(static_cast<std::size_t>(workers));
  std::vector<ExitCode> codes(static_cast<std::size_t>(workers), ExitCode::kOk);
  run_watched(workers, [&](Communicator& world, FlightRecorder& recorder) {
    const auto rank = static_cast<std::size_t>(world.rank());
    try {
      body(world, recorder);
    } catch (const Error& error) {
      texts[rank] = error.what();
      codes[rank] = error.code();
    }
  });
  EXPECT_THAT(codes, Each(ExitCode::kDesync));
  return texts;
}

/// All of three workers must say the same line with these words.
void expect_named(const Body& body, const std::string& odd, const std::string& others) {
  const auto texts = complaints(3, body);
  EXPECT_THAT(texts, Each(texts.front()));
  EXPECT_THAT(texts.front(), AllOf(HasSubstr("the workers disagree: " + odd), HasSubstr("while " + others)));
}

TEST(WatchedCommunicator, IsACommunicator) {
  for (const int workers : {1, 2, 3, 4}) {
    for (const bool agree : {true, false}) {
      run_watched(
          workers, [](Communicator& world, FlightRecorder&) { expect_communicator_contract(world); }, agree);
    }
  }
}

TEST(WatchedCommunicator, LetsTheSplitAllReduceWorkAcrossNodes) {
  const StepsOptions options{.split = {.shards = 4, .bucket_bytes = 4096}, .steps = 5};
  const std::vector<std::uint32_t> expected = expected_steps(options);
  for (const int workers_per_node : {1, 2}) {
    run_workers(4, workers_per_node, [&](Communicator& plain) {
      FlightRecorder recorder({.rank = plain.rank(), .workers = plain.size()});
      WatchedCommunicator world(plain, recorder, true);
      EXPECT_EQ(training_steps(world, options), expected);
      const auto log = recorder.log(kFlightRecords);
      ASSERT_TRUE(log);
      EXPECT_FALSE(log->blocked);
      for (const FlightRecord& record : log->latest) EXPECT_GT(record.done_ns, 0) << describe(record);
    });
  }
}

TEST(WatchedCommunicator, NamesASkippedCollective) {
  expect_named(
      [](Communicator& world, FlightRecorder& recorder) {
        std::vector<double> values(18);
        for (int step = 1; step <= 50; ++step) {
          recorder.begin_step(step);
          if (world.rank() != 1 || step != 40) world.all_reduce_disjoint(values);
        }
        world.barrier();
      },
      "rank 1 calls all-reduce of 18 doubles in step 41 (number 40 of its group)",
      "ranks 0 and 2 call all-reduce of 18 doubles in step 40 (number 40 of its group)");
}

TEST(WatchedCommunicator, NamesASmallerAndALargerCountBeforeMemoryIsTouched) {
  for (const std::size_t count : {9U, 1000U}) {
    std::mutex mutex;
    int untouched = 0;
    expect_named(
        [&](Communicator& world, FlightRecorder&) {
          std::vector<std::int64_t> values(world.rank() == 2 ? count : 10U, world.rank());
          try {
            world.all_reduce(values, Reduction::kSum);
          } catch (const Error&) {
            const std::lock_guard lock(mutex);
            if (values.front() == world.rank()) ++untouched;
            throw;
          }
        },
        "rank 2 calls all-reduce of " + std::to_string(count) + " integers (sum)",
        "ranks 0 and 1 call all-reduce of 10 integers (sum)");
    EXPECT_EQ(untouched, 3);
  }
}

TEST(WatchedCommunicator, NamesAnotherType) {
  expect_named(
      [](Communicator& world, FlightRecorder&) {
        std::vector<std::int64_t> integers(4);
        std::vector<double> doubles(4);
        if (world.rank() == 0) return world.all_reduce_disjoint(doubles);
        world.all_reduce(integers, Reduction::kSum);
      },
      "rank 0 calls all-reduce of 4 doubles", "ranks 1 and 2 call all-reduce of 4 integers (sum)");
}

TEST(WatchedCommunicator, NamesAnotherReduction) {
  expect_named(
      [](Communicator& world, FlightRecorder&) {
        std::vector<std::int64_t> values(4);
        world.all_reduce(values, world.rank() == 1 ? Reduction::kMax : Reduction::kSum);
      },
      "rank 1 calls all-reduce of 4 integers (maximum)", "ranks 0 and 2 call all-reduce of 4 integers (sum)");
}

TEST(WatchedCommunicator, NamesAnotherCollectiveAndAnotherRoot) {
  expect_named(
      [](Communicator& world, FlightRecorder&) {
        std::vector<std::int64_t> values(4);
        if (world.rank() == 1) return world.broadcast(std::as_writable_bytes(std::span(values)), 0);
        world.all_reduce(values, Reduction::kSum);
      },
      "rank 1 calls broadcast of 32 bytes from rank 0", "ranks 0 and 2 call all-reduce of 4 integers (sum)");
  expect_named(
      [](Communicator& world, FlightRecorder&) {
        std::vector<std::byte> bytes(8);
        world.broadcast(bytes, world.rank() == 2 ? 1 : 0);
      },
      "rank 2 calls broadcast of 8 bytes from rank 1", "ranks 0 and 1 call broadcast of 8 bytes from rank 0");
}

TEST(WatchedCommunicator, NamesCollectivesInAnotherOrder) {
  expect_named(
      [](Communicator& world, FlightRecorder&) {
        std::vector<double> values(4);
        if (world.rank() == 0) world.barrier();
        world.all_reduce_disjoint(values);
        if (world.rank() != 0) world.barrier();
      },
      "rank 0 calls barrier", "ranks 1 and 2 call all-reduce of 4 doubles");
}

TEST(WatchedCommunicator, ComparesCallsOfGroupsOfTheSameWorkers) {
  expect_named(
      [](Communicator& world, FlightRecorder&) {
        const auto copy = world.split(0);
        if (world.rank() == 2) return copy->barrier();
        world.barrier();
      },
      "rank 2 calls barrier", "ranks 0 and 1 call barrier");
}

TEST(WatchedCommunicator, NamesRanksOfTheWorldAlsoInASmallerGroup) {
  std::vector<std::string> texts(4);
  run_watched(4, [&](Communicator& world, FlightRecorder&) {
    const auto half = world.split(world.rank() / 2);
    std::vector<double> values(world.rank() == 3 ? 5 : 6);
    try {
      half->all_reduce_disjoint(values);
    } catch (const Error& error) {
      texts[static_cast<std::size_t>(world.rank())] = error.what();
    }
  });
  EXPECT_EQ(texts[0] + texts[1], "") << "these agree";
  EXPECT_THAT(texts[2], AllOf(HasSubstr("rank 3 calls all-reduce of 5"), HasSubstr("rank 2 calls all-reduce of 6")));
  EXPECT_EQ(texts[2], texts[3]);
}

TEST(WatchedCommunicator, RecordsWhatAWorkerWaitsFor) {
  run_workers(2, [](Communicator& plain) {
    FlightRecorder recorder({.rank = plain.rank(), .workers = 2});
    WatchedCommunicator world(plain, recorder, true);
    std::vector<std::byte> bytes(100);
    if (world.rank() == 0) {
      const auto request = world.receive(bytes, 1, 5);
      auto log = recorder.log(1);
      ASSERT_TRUE(log);
      EXPECT_FALSE(log->blocked) << "nobody waits yet";
      EXPECT_EQ(describe(log->latest.back()), "message of 100 bytes from rank 1 before the first step");
      plain.barrier();
      request->wait();
      log = recorder.log(1);
      EXPECT_FALSE(log->blocked);
      EXPECT_GT(log->latest.back().done_ns, 0);
    } else {
      plain.barrier();
      world.send(bytes, 0, 5)->wait();
    }
  });
}

TEST(WatchedCommunicator, ShowsTheOldestMessageThatIsMissingWhileAWorkerWaitsForAThread) {
  run_workers(3, [](Communicator& plain) {
    FlightRecorder recorder({.rank = plain.rank(), .workers = 3});
    WatchedCommunicator world(plain, recorder, true);
    std::vector<std::byte> first(100), second(200);
    if (world.rank() == 0) {
      const auto from_1 = world.receive(first, 1, 5);
      const auto from_2 = world.receive(second, 2, 5);
      {
        const MessageWait wait(world);
        EXPECT_EQ(recorder.log(0)->blocked->partner, 1);
        plain.barrier();
        while (!from_1->test()) std::this_thread::yield();
        ASSERT_TRUE(recorder.log(0)->blocked);
        EXPECT_EQ(recorder.log(0)->blocked->partner, 2);
        plain.barrier();
        while (!from_2->test()) std::this_thread::yield();
        ASSERT_TRUE(recorder.log(0)->blocked);
        EXPECT_EQ(recorder.log(0)->blocked->call, FlightCall::kMessages);
      }
      EXPECT_FALSE(recorder.log(0)->blocked);
      return;
    }
    plain.barrier();
    if (world.rank() == 1) world.send(first, 0, 5)->wait();
    plain.barrier();
    if (world.rank() == 2) world.send(second, 0, 5)->wait();
  });
}

/// Sees what a worker's recorder says in the middle of a barrier that the other one enters late.
TEST(WatchedCommunicator, ShowsAWorkerInACollectiveAsBlocked) {
  FlightRecorder recorder({.rank = 0, .workers = 2});
  run_workers(2, [&](Communicator& plain) {
    if (plain.rank() == 0) {
      WatchedCommunicator world(plain, recorder, true);
      return world.barrier();
    }
    for (auto log = recorder.log(0); !log->blocked; log = recorder.log(0)) std::this_thread::yield();
    const auto log = recorder.log(0);
    EXPECT_EQ(log->blocked->call, FlightCall::kBarrier);
    ASSERT_NE(log->header.group(1), nullptr);
    EXPECT_EQ(log->header.group(1)->entered, 1U);
    FlightRecorder own({.rank = 1, .workers = 2});
    WatchedCommunicator world(plain, own, true);
    world.barrier();
  });
}

}  // namespace
}  // namespace ballast
