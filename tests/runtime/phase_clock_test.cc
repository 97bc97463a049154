#include "runtime/phase_clock.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

namespace ballast {
namespace {

using std::chrono::milliseconds;

double at(const PhaseSeconds& seconds, Phase phase) { return seconds[static_cast<std::size_t>(phase)]; }

TEST(PhaseClock, GivesEveryMomentToOnePhase) {
  PhaseClock clock;
  static_cast<void>(clock.take());
  const auto start = std::chrono::steady_clock::now();
  clock.enter(Phase::kForward);
  std::this_thread::sleep_for(milliseconds(20));
  clock.enter(Phase::kUpdate);
  std::this_thread::sleep_for(milliseconds(5));
  clock.enter(Phase::kForward);
  const PhaseSeconds seconds = clock.take();
  const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_GE(at(seconds, Phase::kForward), 0.020);
  EXPECT_GE(at(seconds, Phase::kUpdate), 0.005);
  EXPECT_EQ(at(seconds, Phase::kData), 0.0);
  EXPECT_NEAR(std::accumulate(seconds.begin(), seconds.end(), 0.0), whole, 0.002);
}

TEST(PhaseClock, StartsAfreshWhenTaken) {
  PhaseClock clock;
  clock.enter(Phase::kBackward);
  std::this_thread::sleep_for(milliseconds(5));
  EXPECT_GE(at(clock.take(), Phase::kBackward), 0.005);
  clock.enter(Phase::kOther);
  EXPECT_LT(at(clock.take(), Phase::kBackward), 0.005);
}

}  // namespace
}  // namespace ballast
