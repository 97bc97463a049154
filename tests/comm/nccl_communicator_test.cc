#include "comm/nccl/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "compute/error.h"
#include "tests/support/scripted_nccl.h"
#include "tests/support/thread_workers.h"

namespace ballast::nccl {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class NcclCommunicatorWithAScript : public testing::Test {
 protected:
  NcclCommunicatorWithAScript() { scripted_nccl() = {}; }

  /// Makes a group and lets `use` have it. Returns the text of the error, or nothing.
  template <typename Use>
  std::string error_of(const Use& use) {
    std::string text;
    run_workers(1, [&](Communicator& world) {
      try {
        NcclCommunicator group(world, 0.02);
        use(group);
      } catch (const Error& error) {
        text = error.what();
        code_ = error.code();
      }
    });
    return text;
  }
  static void nothing(NcclCommunicator&) {}

  ScriptedNccl& script_ = scripted_nccl();
  ExitCode code_ = ExitCode::kOk;
};

TEST_F(NcclCommunicatorWithAScript, NeverBlocksAndWaitsUntilItsGroupIsThere) {
  script_.init = {ncclInProgress};
  script_.states = {ncclInProgress, ncclInProgress, ncclSuccess};
  EXPECT_EQ(error_of(nothing), "");
  EXPECT_EQ(script_.blocking, 0);
  EXPECT_EQ(script_.states.size(), 1U) << "not all asked for";
  EXPECT_EQ(script_.destroyed, 1);
  EXPECT_EQ(script_.aborted, 0);
}

TEST_F(NcclCommunicatorWithAScript, NamesRankAndSecondsWhenOthersDoNotCome) {
  script_.init = {ncclInProgress};
  script_.states = {ncclInProgress};
  EXPECT_THAT(error_of(nothing), AllOf(HasSubstr("rank 0: no answer from the other workers for 0.02 s"),
                                       HasSubstr("ncclCommInitRankConfig"), HasSubstr("NCCL_DEBUG")));
  EXPECT_EQ(code_, ExitCode::kHang);
  EXPECT_EQ(script_.aborted, 1);
}

TEST_F(NcclCommunicatorWithAScript, EndsAWaitThatOthersLeaveWaiting) {
  script_.stream = {cudaErrorNotReady};
  EXPECT_THAT(error_of([](NcclCommunicator& group) { group.wait(nullptr); }), HasSubstr("no answer"));
  EXPECT_EQ(code_, ExitCode::kHang);
  EXPECT_EQ(script_.aborted, 1);
  EXPECT_EQ(script_.destroyed, 0);
}

TEST_F(NcclCommunicatorWithAScript, WaitsForAStreamThatIsSlow) {
  script_.stream = {cudaErrorNotReady, cudaErrorNotReady, cudaErrorNotReady, cudaSuccess};
  EXPECT_EQ(error_of([](NcclCommunicator& group) { group.wait(nullptr); }), "");
  EXPECT_EQ(script_.stream.size(), 1U) << "did not wait";
}

TEST_F(NcclCommunicatorWithAScript, ReportsAnAsynchronousErrorWhileItWaits) {
  script_.stream = {cudaErrorNotReady};
  script_.states = {ncclSuccess, ncclInProgress, ncclRemoteError};
  EXPECT_THAT(error_of([](NcclCommunicator& group) { group.wait(nullptr); }),
              HasSubstr("rank 0: NCCL: a transfer: remote process exited: socket closed by node7"));
  EXPECT_EQ(code_, ExitCode::kInternal);
  EXPECT_EQ(script_.aborted, 1);
}

TEST_F(NcclCommunicatorWithAScript, ReportsACallThatFails) {
  EXPECT_THAT(error_of([](NcclCommunicator& group) { group.complete(ncclInvalidUsage, "ncclGroupEnd"); }),
              HasSubstr("rank 0: NCCL: ncclGroupEnd: "));
  EXPECT_EQ(script_.aborted, 1);
}

TEST_F(NcclCommunicatorWithAScript, ReportsAFailureOfTheDevice) {
  script_.stream = {cudaErrorIllegalAddress};
  EXPECT_THAT(error_of([](NcclCommunicator& group) { group.wait(nullptr); }), HasSubstr("illegal memory access"));
  EXPECT_EQ(script_.aborted, 1);
}

TEST_F(NcclCommunicatorWithAScript, AbortsWhenItsWorkerFailsForAnotherReason) {
  EXPECT_EQ(error_of([](NcclCommunicator&) { throw DataError("train.bin: damaged"); }), "train.bin: damaged");
  EXPECT_EQ(script_.aborted, 1);
  EXPECT_EQ(script_.destroyed, 0);
}

TEST_F(NcclCommunicatorWithAScript, AbortsAGroupThatDoesNotComeToAnEnd) {
  script_.finalize = {ncclInProgress};
  script_.states = {ncclInProgress};
  EXPECT_EQ(error_of(nothing), "") << "a destructor has nobody to tell";
  EXPECT_EQ(script_.aborted, 1);
  EXPECT_EQ(script_.destroyed, 0);
}

}  // namespace
}  // namespace ballast::nccl
