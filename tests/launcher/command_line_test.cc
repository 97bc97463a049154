#include "launcher/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/reference.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

template <class Chosen>
Chosen parse(std::vector<std::string> arguments) {
  return std::get<Chosen>(parse_command_line(std::move(arguments)));
}

std::string usage_error(std::vector<std::string> arguments) {
  try {
    (void)parse_command_line(std::move(arguments));
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(CommandLine, TrainTakesOverridesInEveryForm) {
  const auto command = parse<TrainCommand>(
      {"train", "job.toml", "optimizer.lr=3e-4", "--batch.size=8", "--log.every", "5", "job.seed=-1"});
  EXPECT_EQ(command.job, "job.toml");
  EXPECT_THAT(command.overrides, ElementsAre("optimizer.lr=3e-4", "batch.size=8", "log.every=5", "job.seed=-1"));
}

TEST(CommandLine, LaunchTakesAJobAsTrainDoes) {
  const auto command =
      parse<LaunchCommand>({"launch", "--hosts", "10.0.0.1:2,b", "-n", "3", "job.toml", "--optimizer.lr=3e-4",
                            "--hang=5min", "--mpirun", "--mca btl self,tcp", "batch.size=8"});
  EXPECT_EQ(command.job, "job.toml");
  EXPECT_EQ(command.hosts, "10.0.0.1:2,b");
  EXPECT_EQ(command.workers, 3);
  EXPECT_EQ(command.hang, "5min");
  EXPECT_EQ(command.mpirun, "--mca btl self,tcp");
  EXPECT_THAT(command.overrides, ElementsAre("optimizer.lr=3e-4", "batch.size=8"));
  EXPECT_THAT(usage_error({"launch", "job.toml", "--hang", "soon"}), HasSubstr("is not a time such as 90s"));
  EXPECT_THAT(usage_error({"launch", "job.toml", "-n", "0"}), StartsWith("launch: "));
  EXPECT_THAT(usage_error({"launch", "job.toml", "--restart", "3"}), HasSubstr("did you mean '--restarts'?"));
}

TEST(CommandLine, ReadsEveryCommand) {
  EXPECT_TRUE(parse<EvalCommand>({"eval", "runs/gpt", "--json"}).json);
  EXPECT_EQ(parse<VerifyCommand>({"verify", "runs/gpt"}).path, "runs/gpt");
  const auto generate = parse<GenerateCommand>(
      {"generate", "runs/gpt", "--prompt", "-x- It was", "--tokens", "7", "-t", "0.5", "--top-k=40", "--seed", "3"});
  EXPECT_EQ(generate.prompt, "-x- It was");
  EXPECT_EQ(generate.tokens, 7);
  EXPECT_EQ(generate.temperature, 0.5);
  EXPECT_EQ(generate.top_k, 40);
  EXPECT_EQ(generate.seed, 3);
  const auto inspect = parse<InspectCommand>({"inspect", "c", "--tensor", "*.weight", "--optimizer", "--state"});
  EXPECT_EQ(inspect.tensor, "*.weight");
  EXPECT_TRUE(inspect.optimizer && inspect.state && !inspect.json);
  const auto plan = parse<PlanCommand>({"plan", "job.toml", "--workers", "8", "batch.micro=4", "--verbose"});
  EXPECT_EQ(plan.workers, 8);
  EXPECT_TRUE(plan.verbose);
  EXPECT_THAT(plan.overrides, ElementsAre("batch.micro=4"));
  EXPECT_TRUE(parse<ConfigCommand>({"config", "--markdown"}).markdown);
  EXPECT_EQ(parse<BenchCommand>({"bench", "gemm"}).backend, "");
  EXPECT_EQ(parse<BenchCommand>({"bench", "gemm", "--backend", "cuda"}).backend, "cuda");
  const auto doctor = parse<DoctorCommand>({"doctor", "--json", "compute.backend=cuda"});
  EXPECT_TRUE(doctor.json);
  EXPECT_THAT(doctor.overrides, ElementsAre("compute.backend=cuda"));
  EXPECT_THAT(parse<TextCommand>({"--version"}).text, StartsWith("ballast "));
  EXPECT_EQ(parse<TextCommand>({"version"}).text, parse<TextCommand>({"--version"}).text);
}

TEST(CommandLine, HelpNamesEveryCommandAndEveryKey) {
  const std::string help = parse<TextCommand>({"--help"}).text;
  EXPECT_EQ(parse<TextCommand>({"help"}).text, help);
  for (const char* command :
       {"train", "eval", "generate", "inspect", "verify", "plan", "config", "bench", "doctor", "help", "version"}) {
    EXPECT_THAT(help, HasSubstr(std::string("\n  ") + command + ' '));
    EXPECT_THAT(parse<TextCommand>({"help", command}).text, HasSubstr(std::string("ballast ") + command));
  }
  EXPECT_THAT(parse<TextCommand>({"help", "train"}).text, HasSubstr(all_keys_help()));
  EXPECT_THAT(parse<TextCommand>({"train", "--help"}).text, HasSubstr("mpirun -n 4 ballast train"));
  EXPECT_THAT(parse<TextCommand>({"help", "optimizer.lr"}).text, HasSubstr("Learning rate"));
  EXPECT_THAT(parse<TextCommand>({"help", "optimizer"}).text, StartsWith("[optimizer]"));
}

TEST(CommandLine, SaysWhatIsWrongInOneLine) {
  EXPECT_EQ(usage_error({}), "no command; 'ballast help' lists the commands");
  EXPECT_EQ(usage_error({"trian", "job.toml"}), "unknown command 'trian'; did you mean 'train'?");
  EXPECT_EQ(usage_error({"job.toml"}), "unknown command 'job.toml'; did you mean 'ballast train job.toml'?");
  EXPECT_EQ(usage_error({"zzz"}), "unknown command 'zzz'; 'ballast help' lists the commands");
  EXPECT_EQ(usage_error({"verify", "c", "--qqqq"}), "verify: unknown argument '--qqqq'; see 'ballast help verify'");
  EXPECT_EQ(usage_error({"train"}), "train: JOB is required; see 'ballast help train'");
  EXPECT_EQ(usage_error({"eval", "c", "--jsn"}), "eval: unknown argument '--jsn'; did you mean '--json'?");
  EXPECT_THAT(usage_error({"generate", "c", "--tokens", "many"}), HasSubstr("\"many\" is not a number from 0"));
  EXPECT_THAT(usage_error({"bench", "gemm", "--backend", "gpu"}), HasSubstr("gpu"));
  EXPECT_THAT(usage_error({"plan", "j", "--workers", "0"}), HasSubstr("\"0\" is not a number from 1 to 65536"));
  EXPECT_EQ(usage_error({"help", "optimzer"}), "no help on 'optimzer'; did you mean 'optimizer'?");
  for (const char* command : {"eval", "generate", "inspect", "verify", "plan"}) {
    const std::string message = usage_error({command});
    EXPECT_THAT(message, HasSubstr("is required"));
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace ballast
