#include "launcher/launch/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <deque>
#include <functional>

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A cluster whose clock only runs while it is waited for, and whose jobs end as a script says.
class PlayedCluster : public Cluster {
 public:
  struct Run {
    double seconds = 1.0;  ///< the job ends after this; < 0: only when it is asked to stop or killed
    int code = 0;
    std::int64_t checkpoint = -1;  ///< that exists from its end on; -1: no new one
    int code_when_stopped = 75;
  };

  explicit PlayedCluster(std::size_t hosts) : up(hosts, true), health_(hosts) {}

  std::vector<bool> sweep() override {
    running_ = false;
    return up;
  }
  void start(const std::vector<int>& workers) override {
    starts.push_back(workers);
    start_times.push_back(time_);
    run_ = script.empty() ? Run{.seconds = -1.0} : script.front();
    if (!script.empty()) script.pop_front();
    running_ = true;
    ends_ = run_.seconds < 0 ? 1e18 : time_ + run_.seconds;
    health_.assign(up.size(), {});
  }
  News wait(double seconds) override {
    time_ += seconds;
    for (std::size_t i = 0; i < up.size(); ++i) {
      health_[i] = up[i] ? Health{health_[i].answered + 1, 0} : Health{0, health_[i].missed + 1};
    }
    if (on_wait) on_wait(time_);
    if (alive && running_) changed_ = time_;
    News news;
    if (!signals.empty() && time_ >= signals.front().first) {
      news.signal = signals.front().second;
      signals.pop_front();
    }
    if (running_ && time_ >= ends_) {
      running_ = false;
      news.ended = run_.code;
      news.cause = "the job died";
      if (run_.checkpoint >= 0) checkpoint = run_.checkpoint;
    }
    return news;
  }
  void ask_to_stop() override {
    ++stops;
    if (!obeys) return;
    run_.code = run_.code_when_stopped;
    ends_ = time_ + 0.1;
  }
  std::vector<Health> health() override { return health_; }
  Progress progress() override { return {checkpoint, changed_}; }
  double now() override { return time_; }
  void say(const std::string& line) override { said.push_back(line); }

  std::vector<bool> up;
  std::deque<Run> script;  ///< what comes after it runs for ever
  std::deque<std::pair<double, int>> signals;
  std::function<void(double)> on_wait;
  bool alive = true;  ///< the run folder changes
  bool obeys = true;
  std::int64_t checkpoint = -1;
  std::vector<std::vector<int>> starts;
  std::vector<double> start_times;
  std::vector<std::string> said;
  int stops = 0;

 private:
  double time_ = 100.0, ends_ = 0.0, changed_ = 0.0;
  bool running_ = false;
  Run run_;
  std::vector<Health> health_;
};

SupervisorOptions three_hosts() { return {.hosts = {{"a", 2}, {"b", 2}, {"c", 2}}, .workers = 6}; }

TEST(Supervisor, SaysNothingWhenNothingHappens) {
  PlayedCluster cluster(3);
  cluster.script = {{.seconds = 10}};
  EXPECT_EQ(Supervisor(three_hosts(), cluster).run(), 0);
  EXPECT_THAT(cluster.starts, ElementsAre(ElementsAre(2, 2, 2)));
  EXPECT_THAT(cluster.said, IsEmpty());
}

TEST(Supervisor, StartsAgainAtOnceAfterADeath) {
  PlayedCluster cluster(3);
  cluster.script = {{.seconds = 10, .code = 137, .checkpoint = 40}, {.seconds = 5}};
  EXPECT_EQ(Supervisor(three_hosts(), cluster).run(), 0);
  EXPECT_LT(cluster.start_times[1] - cluster.start_times[0], 11.0);
  EXPECT_THAT(cluster.said, ElementsAre("the job died; going on from step 40 with 6 workers (a:2, b:2, c:2)"));
}

TEST(Supervisor, LeavesOutAHostThatDoesNotAnswer) {
  PlayedCluster cluster(3);
  cluster.script = {{.seconds = 3, .code = 205}, {.seconds = 5}};
  cluster.on_wait = [&](double now) { cluster.up[1] = now < 102.0; };
  EXPECT_EQ(Supervisor(three_hosts(), cluster).run(), 0);
  EXPECT_THAT(cluster.starts, ElementsAre(ElementsAre(2, 2, 2), ElementsAre(2, 0, 2)));
  EXPECT_THAT(cluster.said,
              ElementsAre("the job died; b does not answer; going on from the beginning with 4 workers (a:2, c:2)"));
}

TEST(Supervisor, NoticesALostHostThatMpirunMisses) {
  PlayedCluster cluster(3);
  cluster.script = {{.seconds = -1}, {.seconds = 5}};
  cluster.on_wait = [&](double now) { cluster.up[2] = now < 110.0; };
  EXPECT_EQ(Supervisor(three_hosts(), cluster).run(), 0);
  EXPECT_THAT(cluster.said[0], HasSubstr("three probes of c had no answer; c does not answer; going on"));
}

TEST(Supervisor, GrowsWhenAHostIsBack) {
  PlayedCluster cluster(3);
  cluster.up[1] = false;
  cluster.on_wait = [&](double now) { cluster.up[1] = now > 120.0; };
  cluster.script = {{.seconds = -1, .checkpoint = 70}, {.seconds = 5}};
  EXPECT_EQ(Supervisor(three_hosts(), cluster).run(), 0);
  EXPECT_EQ(cluster.stops, 1);
  EXPECT_THAT(cluster.starts, ElementsAre(ElementsAre(2, 0, 2), ElementsAre(2, 2, 2)));
  EXPECT_THAT(cluster.said[1], "b is back; going on from step 70 with 6 workers (a:2, b:2, c:2)");
}

TEST(Supervisor, DoesNotStopTheJobForHostsItWouldNotUse) {
  PlayedCluster cluster(3);
  SupervisorOptions options = three_hosts();
  options.workers = 4;
  cluster.up[1] = false;
  cluster.on_wait = [&](double now) { cluster.up[1] = now > 105.0; };
  cluster.script = {{.seconds = 60}};
  EXPECT_EQ(Supervisor(options, cluster).run(), 0);
  EXPECT_EQ(cluster.stops, 0);
}

TEST(Supervisor, AHostThatKeepsFailingHasToAnswerLonger) {
  PlayedCluster cluster(2);
  std::vector<double> grown;
  cluster.on_wait = [&](double) {
    if (cluster.starts.size() % 2 == 1) cluster.up[1] = cluster.starts.size() < 9;  // back as soon as it is left out
    if (cluster.starts.size() % 2 == 0) cluster.up[1] = false;                      // lost as soon as it takes part
  };
  cluster.up[1] = false;
  SupervisorOptions options = {.hosts = {{"a", 1}, {"b", 1}}, .workers = 2, .restarts = 100};
  cluster.signals = {{400.0, SIGTERM}};
  EXPECT_EQ(Supervisor(options, cluster).run(), 75);
  ASSERT_GE(cluster.start_times.size(), 8U);
  const auto patience = [&](std::size_t start) { return cluster.start_times[start + 1] - cluster.start_times[start]; };
  EXPECT_GT(patience(6), patience(0));
}

TEST(Supervisor, GivesUpWithTheJobsCode) {
  PlayedCluster cluster(1);
  cluster.script = {{.code = 70}, {.code = 70}, {.code = 137}, {.code = 0}};
  SupervisorOptions options = {.hosts = {{"a", 2}}, .workers = 2, .restarts = 2};
  EXPECT_EQ(Supervisor(options, cluster).run(), 137);
  EXPECT_THAT(cluster.starts, SizeIs(3));
  EXPECT_GE(cluster.start_times[2] - cluster.start_times[1], 2.0) << "it pauses";
  EXPECT_EQ(cluster.said[1],
            "the job died; going on from the beginning after 1s, restart 2 of 2 without a new checkpoint");
  EXPECT_EQ(cluster.said.back(), "the job died; it came to no new checkpoint in 3 starts: giving up");
}

TEST(Supervisor, ProgressRefillsTheBudget) {
  PlayedCluster cluster(1);
  for (int i = 0; i < 50; ++i) cluster.script.push_back({.code = 137, .checkpoint = i});
  cluster.script.push_back({.code = 0});
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1, .restarts = 1}, cluster).run(), 0);
}

TEST(Supervisor, DoesNotTryAgainWhatWouldFailAgain) {
  PlayedCluster cluster(1);
  cluster.script = {{.code = 65}};
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1}, cluster).run(), 65);
  EXPECT_THAT(cluster.said, ElementsAre("the job died; this is not tried again"));
}

TEST(Supervisor, AHangEndsAndStartsAgain) {
  PlayedCluster cluster(1);
  cluster.alive = false;
  cluster.script = {{.seconds = -1}, {.seconds = 1}};
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1, .hang = 30}, cluster).run(), 0);
  EXPECT_THAT(cluster.said, ElementsAre(HasSubstr("no progress for 30s; going on")));
}

TEST(Supervisor, TooFewWorkersAreWaitedForAndThenGivenUp) {
  PlayedCluster cluster(2);
  cluster.up[1] = false;
  SupervisorOptions options = {.hosts = {{"a", 1}, {"b", 1}}, .workers = 2, .min_workers = 2, .wait_for_hosts = 20};
  EXPECT_EQ(Supervisor(options, cluster).run(), 75);
  EXPECT_GE(cluster.now(), 120.0);
  EXPECT_THAT(cluster.said, ElementsAre("waiting for hosts", HasSubstr("fewer than 2")));
  EXPECT_THAT(cluster.starts, IsEmpty());
}

TEST(Supervisor, ASignalStopsTheJobOnceAndForAll) {
  PlayedCluster cluster(1);
  cluster.signals = {{105.0, SIGUSR1}};
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1}, cluster).run(), 75);
  EXPECT_THAT(cluster.starts, SizeIs(1));
  EXPECT_EQ(cluster.stops, 1);
}

TEST(Supervisor, AWorkerThatDiesOfTheRequestToStopHasStopped) {
  PlayedCluster cluster(1);
  cluster.script = {{.seconds = -1, .code_when_stopped = 128 + SIGUSR1}};
  cluster.signals = {{101.0, SIGTERM}};
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1}, cluster).run(), 75);
  EXPECT_THAT(cluster.said, IsEmpty());
}

TEST(Supervisor, AFailureOnTheWayToAStopIsNotHidden) {
  PlayedCluster cluster(1);
  cluster.script = {{.seconds = -1, .code_when_stopped = 74}};
  cluster.signals = {{101.0, SIGTERM}};
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1}, cluster).run(), 74);
  EXPECT_THAT(cluster.said, ElementsAre("the job died; not started again, for it was asked to stop"));
}

TEST(Supervisor, ASecondSignalKills) {
  PlayedCluster cluster(1);
  cluster.obeys = false;
  cluster.signals = {{105.0, SIGTERM}, {106.0, SIGUSR1}, {107.0, SIGTERM}};
  EXPECT_EQ(Supervisor({.hosts = {{"a", 1}}, .workers = 1}, cluster).run(), 128 + SIGTERM);
  EXPECT_EQ(cluster.stops, 1);
}

}  // namespace
}  // namespace ballast
