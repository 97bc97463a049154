#include "compute/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "compute/error.h"

namespace ballast {
namespace {

class ThreadPoolOf : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolOf, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (const std::int64_t tasks : {0, 1, 2, 3, 1000}) {
    std::vector<int> calls(static_cast<std::size_t>(tasks), 0);
    pool.run(tasks, [&](std::int64_t task) { ++calls[static_cast<std::size_t>(task)]; });
    EXPECT_EQ(calls, std::vector<int>(static_cast<std::size_t>(tasks), 1));
  }
}

TEST_P(ThreadPoolOf, SeesWhatEarlierRunsWrote) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> numbers(64, 0);
  constexpr int kRuns = 3000;
  for (int run = 0; run < kRuns; ++run) {
    // Each number is read and written by a different task of every run.
    pool.run(64, [&](std::int64_t task) { ++numbers[static_cast<std::size_t>((task + run) % 64)]; });
  }
  EXPECT_EQ(numbers, std::vector<std::int64_t>(64, kRuns));
}

TEST_P(ThreadPoolOf, CutsRangesBySizeAndGrainOnly) {
  ThreadPool pool(GetParam());
  std::mutex mutex;
  std::set<std::pair<std::int64_t, std::int64_t>> ranges;
  pool.run_ranges(10, 4, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard lock(mutex);
    ranges.emplace(begin, end);
  });
  EXPECT_EQ(ranges, (std::set<std::pair<std::int64_t, std::int64_t>>{{0, 4}, {4, 8}, {8, 10}}));
  EXPECT_NO_THROW(pool.run_ranges(0, 4, [](std::int64_t, std::int64_t) { throw std::runtime_error("not called"); }));
}

TEST_P(ThreadPoolOf, RethrowsATasksExceptionAndGoesOn) {
  ThreadPool pool(GetParam());
  for (int run = 0; run < 50; ++run) {
    EXPECT_THROW(pool.run(20,
                          [](std::int64_t task) {
                            if (task == 7) throw Error("task seven");
                          }),
                 Error);
    std::atomic<int> calls = 0;
    pool.run(20, [&](std::int64_t) { ++calls; });
    EXPECT_EQ(calls, 20);
  }
}

TEST_P(ThreadPoolOf, RefusesToRunFromInsideATask) {
  ThreadPool pool(GetParam());
  EXPECT_THROW(pool.run(2, [&](std::int64_t) { pool.run(2, [](std::int64_t) {}); }), Error);
}

TEST_P(ThreadPoolOf, KeepsLibrariesOnOneThread) {
  omp_set_num_threads(3);
  ThreadPool pool(GetParam());
  std::atomic<int> most = 0;
  pool.run(200, [&](std::int64_t) {
    if (omp_get_max_threads() > most) most = omp_get_max_threads();
    std::this_thread::sleep_for(std::chrono::microseconds(20));  // leaves time for the other threads to come
  });
  EXPECT_EQ(most, 1);
}

TEST_P(ThreadPoolOf, KeepsLibrariesOnOneThreadForAnotherCaller) {
  ThreadPool pool(GetParam());
  int seen = 0;
  std::thread([&] {
    omp_set_num_threads(3);
    pool.run(1, [&](std::int64_t) { seen = omp_get_max_threads(); });
  }).join();
  EXPECT_EQ(seen, 1);
}

TEST_P(ThreadPoolOf, WakesAfterAPause) {
  ThreadPool pool(GetParam());
  std::atomic<int> calls = 0;
  for (int run = 0; run < 5; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far longer than a thread spins
    pool.run(8, [&](std::int64_t) { ++calls; });
  }
  EXPECT_EQ(calls, 40);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, testing::Values(1, 2, 3, 5));

TEST(ThreadPool, UsesAllItsThreads) {
  ThreadPool pool(3);
  std::atomic<int> inside = 0;
  std::atomic<bool> met = false;
  // Three tasks that wait for each other can only end on three threads.
  pool.run(3, [&](std::int64_t) {
    if (++inside == 3) met = true;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!met && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  EXPECT_TRUE(met);
}

TEST(ThreadPool, RefusesNoThreadsAndNoGrain) {
  EXPECT_THROW(ThreadPool(0), Error);
  ThreadPool pool(1);
  EXPECT_THROW(pool.run_ranges(4, 0, [](std::int64_t, std::int64_t) {}), Error);
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ThreadPool(4).threads(), 4);
}

}  // namespace
}  // namespace ballast
