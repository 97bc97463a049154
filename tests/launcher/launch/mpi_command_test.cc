#include "launcher/launch/mpi_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const MpiOptions kOptions = {.agent = "ssh -q",
                             .network = "10.0.0.0/24",
                             .extra = "--mca btl self,vader,tcp",
                             .mark = "ballast-launch-n1-7",
                             .worker = {"/bin/ballast", "train", "job.toml"}};

std::string joined(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) text += word + ' ';
  return text;
}

TEST(MpiCommand, NamesHostsAgentAndNetwork) {
  const std::string text = joined(mpirun_command(kOptions, {{"192.0.2.1", 2}, {"192.0.2.2", 1}}, {}, false));
  EXPECT_THAT(text, HasSubstr("--mca plm_rsh_agent ssh -q "));
  EXPECT_THAT(text, HasSubstr("--mca btl_tcp_if_include 10.0.0.0/24 "));
  EXPECT_THAT(text,
              HasSubstr("--mca btl self,vader,tcp --host 192.0.2.1:2,192.0.2.2:1 -n 3 /bin/ballast train job.toml "));
  EXPECT_THAT(text, HasSubstr("--bind-to none "));
  EXPECT_THAT(text, Not(HasSubstr("root")));
}

TEST(MpiCommand, OnThisMachineAloneNeedsNoNetwork) {
  const std::string text = joined(mpirun_command(kOptions, {{"localhost", 4}}, {}, true));
  EXPECT_THAT(text, Not(HasSubstr("rsh")));
  EXPECT_THAT(text, Not(HasSubstr("tcp_if")));
  EXPECT_THAT(text, HasSubstr("mpirun --allow-run-as-root "));
}

TEST(MpiCommand, HandsOnWhatSteersWorkers) {
  const std::string text = joined(mpirun_command(
      kOptions, {{"192.0.2.1", 1}}, {"BALLAST_BATCH_SIZE=8", "HOME=/root", "OMP_NUM_THREADS=2", "PATH=/bin"}, false));
  EXPECT_THAT(text, HasSubstr("-x BALLAST_BATCH_SIZE -x OMP_NUM_THREADS "));
  EXPECT_THAT(text, Not(HasSubstr("-x HOME")));
}

TEST(MpiCommand, TheUsersBindingWins) {
  MpiOptions options = kOptions;
  options.extra = "--bind-to core";
  EXPECT_THAT(joined(mpirun_command(options, {{"localhost", 1}}, {}, false)), Not(HasSubstr("--bind-to none")));
}

TEST(MpiCommand, AnAgentGetsOneWord) {
  EXPECT_THAT(remote_command("ssh -q", "h2", "a; b"), ElementsAre("ssh", "-q", "h2", "sh -c 'a; b'"));
  EXPECT_THAT(remote_command("", "here", "a; b"), ElementsAre("sh", "-c", "a; b"));
}

TEST(MpiCommand, ASweepDoesNotFindItself) {
  const std::string script = sweep_script("ballast-launch-n1-7");
  EXPECT_THAT(script, Not(HasSubstr("ballast-launch-n1-7")));
  EXPECT_THAT(script, Not(HasSubstr("'")));  // it stands between quotes
}

}  // namespace
}  // namespace ballast
