#include "runtime/same_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compute/error.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using testing::Each;

std::vector<std::string> complaints(const std::vector<std::string>& data) {
  std::vector<std::string> texts(data.size());
  run_workers(static_cast<int>(data.size()), [&](Communicator& world) {
    const auto rank = static_cast<std::size_t>(world.rank());
    try {
      require_same_facts(world, {{"model", "a"}, {"training data", data[rank]}});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kDesync);
      texts[rank] = error.what();
    }
  });
  return texts;
}

TEST(SameFacts, LetsWorkersWithTheSameFactsStart) { EXPECT_THAT(complaints({"x", "x", "x"}), Each("")); }

TEST(SameFacts, NamesTheWorkersThatHaveOthers) {
  EXPECT_THAT(complaints({"x", "y", "x", "z"}),
              Each("the workers disagree about the training data: ranks 1 and 3 (y) and rank 0 (x). Give every host "
                   "the same program and the same files"));
}

}  // namespace
}  // namespace ballast
