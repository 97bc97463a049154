#include "launcher/launch/children.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include "launcher/launch/host_commands.h"
#include "launcher/launch/mpi_command.h"

namespace ballast {
namespace {

constexpr int kNoOutput = -1;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// False after ten seconds.
bool comes_true(const std::function<bool()>& condition) {
  for (const double until = now() + 10.0; now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    if (condition()) return true;
  }
  return false;
}

std::vector<bool> answers(HostCommands& commands) {
  std::optional<std::vector<bool>> answered;
  EXPECT_TRUE(comes_true([&] { return (answered = commands.poll(now())).has_value(); }));
  return answered.value_or(std::vector<bool>{});
}

Children::End end_of(Children& children, const std::vector<std::string>& command) {
  const pid_t child = children.start(command, kNoOutput, SIGKILL);
  std::optional<Children::End> end;
  EXPECT_TRUE(comes_true([&] { return (end = children.ended(child)).has_value(); }));
  return end.value_or(Children::End{-1, false});
}

TEST(Children, EndAsAShellReportsIt) {
  Children children;
  EXPECT_EQ(end_of(children, {"sh", "-c", "exit 75"}).code, 75);
  EXPECT_EQ(end_of(children, {"there-is-no-such-program"}).code, 127);
  EXPECT_EQ(end_of(children, {"/"}).code, 126);
  const Children::End killed = end_of(children, {"sh", "-c", "kill -9 $$"});
  EXPECT_EQ(killed.code, 137);
  EXPECT_TRUE(killed.by_signal);
  EXPECT_FALSE(end_of(children, {"sh", "-c", "exit 137"}).by_signal);
}

TEST(Children, LeaveNoDescendantBehind) {
  Children children;
  // A grandchild in a session of its own, whose parent has gone, and which is stopped.
  (void)end_of(children, {"sh", "-c", "setsid sh -c 'kill -STOP $$; sleep 1000' >/dev/null 2>&1 &"});
  const auto started = now();
  children.kill_all();
  EXPECT_LT(now() - started, 5.0);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "there is no child left";
}

TEST(HostCommands, AHostThatIsLateHasNotAnswered) {
  Children children;
  HostCommands commands(children);
  commands.start({{"true"}, {"false"}, {"sleep", "1000"}, {}}, now() + 0.5);
  EXPECT_TRUE(commands.busy());
  EXPECT_THAT(answers(commands), testing::ElementsAre(true, false, false, true));
  EXPECT_FALSE(commands.busy());
  children.kill_all();
}

TEST(SweepScript, EndsWhatNamesTheMarkAndRemovesItsFiles) {
  Children children;
  const std::string mark = "ballast-launch-test-" + std::to_string(getpid());
  const std::string folder = "/dev/shm/" + mark;
  ASSERT_EQ(end_of(children, {"mkdir", folder}).code, 0);
  const pid_t by_argument = children.start({"sh", "-c", "sleep 1000; true", folder}, kNoOutput, SIGKILL);
  const pid_t by_variable =
      children.start({"env", "OMPI_MCA_orte_tmpdir_base=" + folder, "sleep", "1000"}, kNoOutput, SIGKILL);
  const pid_t other = children.start({"sleep", "1000"}, kNoOutput, SIGKILL);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // until `env` has become `sleep`
  EXPECT_EQ(end_of(children, remote_command("", "", sweep_script(mark))).code, 0);
  EXPECT_TRUE(comes_true([&] { return children.ended(by_argument).has_value(); }));
  EXPECT_TRUE(comes_true([&] { return children.ended(by_variable).has_value(); }));
  EXPECT_FALSE(children.ended(other));
  EXPECT_NE(access(folder.c_str(), F_OK), 0);
  children.kill_all();
}

}  // namespace
}  // namespace ballast
