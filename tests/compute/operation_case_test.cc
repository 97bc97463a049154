// The harness of the operations, given operations that are wrong: each must be found.
#include "tests/compute/operation_case.h"

#include <gtest/gtest-spi.h>

#include <cmath>

namespace ballast {
namespace {

/// What a case that doubles x says when the backend under test does `wrong` behind the doubling.
std::string complaint_about(const OperationCase::Operation& wrong) {
  OperationCase c;
  c.reads("x", DType::kF32, {1.0, 2.0, 3.0, 4.0});
  c.writes("y", DType::kF32, 4, {.relative = 1e-6});
  c.returns({{}});
  const auto cpu = make_backend({.name = "cpu", .threads = 1});
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
    c.check(*cpu, [&](Backend& on, Arguments& t) {
      on.add(t[0], t[0], t[1]);
      t.results = {1.0};
      if (on.name() == "cpu") wrong(on, t);
    });
  }
  return results.size() == 0 ? "" : results.GetTestPartResult(0).message();
}

float* floats(DeviceSpan span) { return static_cast<float*>(span.data); }

TEST(OperationCase, IsContentWithWhatIsRight) {
  EXPECT_EQ(complaint_about([](Backend&, Arguments&) {}), "");
}

TEST(OperationCase, FindsAWrongElement) {
  const auto complaint = complaint_about([](Backend&, const Arguments& t) { floats(t[1])[2] += 1e-4F; });
  EXPECT_NE(complaint.find("y[2] of 4"), std::string::npos) << complaint;
}

TEST(OperationCase, FindsAnElementThatWasNotWritten) {
  const auto complaint = complaint_about([](Backend&, const Arguments& t) { floats(t[1])[3] = NAN; });
  EXPECT_NE(complaint.find("y[3] of 4: nan"), std::string::npos) << complaint;
}

TEST(OperationCase, FindsWritesAroundATensor) {
  EXPECT_NE(complaint_about([](Backend&, const Arguments& t) { floats(t[1])[4] = 0.0F; }).find("wrote behind y"),
            std::string::npos);
  EXPECT_NE(complaint_about([](Backend&, const Arguments& t) { floats(t[0])[-1] = 0.0F; }).find("wrote before x"),
            std::string::npos);
}

TEST(OperationCase, FindsAChangedInput) {
  const auto complaint = complaint_about([](Backend&, const Arguments& t) { floats(t[0])[0] = 5.0F; });
  EXPECT_NE(complaint.find("x is only to be read"), std::string::npos) << complaint;
}

TEST(OperationCase, FindsBitsThatChangeFromRunToRun) {
  int runs = 0;
  const auto complaint =
      complaint_about([&](Backend&, const Arguments& t) { floats(t[1])[0] += ++runs == 2 ? 2.4e-7F : 0.0F; });
  EXPECT_NE(complaint.find("the same call gave other bits"), std::string::npos) << complaint;
}

TEST(OperationCase, FindsAWrongResult) {
  const auto complaint = complaint_about([](Backend&, Arguments& t) { t.results = {1.5}; });
  EXPECT_NE(complaint.find("result 0 is 1.5"), std::string::npos) << complaint;
}

}  // namespace
}  // namespace ballast
