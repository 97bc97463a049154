#include "launcher/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "compute/error.h"
#include "launcher/schema.h"
#include "launcher/toml_reader.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// The lines of the error that loading a text gives; none when it loads.
std::vector<std::string> mistakes(const std::string& text, const ConfigSources& sources = {}) {
  try {
    (void)config_from_text(text, "job.toml", sources);
    return {};
  } catch (const ConfigError& error) {
    std::vector<std::string> lines;
    std::istringstream stream(error.what());
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    if (lines.size() == 1) return lines;
    EXPECT_EQ(lines.front(), std::to_string(lines.size() - 1) + " mistakes in the configuration:");
    return {lines.begin() + 1, lines.end()};
  }
}

std::vector<std::string> argument_mistakes(const std::string& argument) {
  return mistakes("", {.arguments = {argument}});
}

ConfigSources training() { return {.use = ConfigUse::kTrain}; }

TEST(Config, EmptyTextIsAllDefaults) {
  EXPECT_EQ(print_config(config_from_text("", "job.toml", {})), print_config(JobConfig{}));
}

TEST(Config, ReadsTheWordsOfTheDesign) {
  const JobConfig config = config_from_text(R"(
[job]
dir = "runs/gpt"
steps = 2000
stop_after = "3h50m"
[model]
name = "gpt"
[data]
format = "text"
train = "input.txt"
validation = 0.2
[optimizer]
lr = 3e-4
betas = [0.9, 0.99]
[schedule]
name = "cosine"
final = 0.2
[checkpoint]
every = "10min"
)",
                                            "job.toml", training());
  EXPECT_EQ(config.job.dir, "runs/gpt");
  EXPECT_EQ(config.job.steps, 2000);
  EXPECT_EQ(config.job.stop_after, 13800.0);
  EXPECT_EQ(config.data.fraction, 0.2);
  EXPECT_EQ(config.optimizer.lr, 3e-4);
  EXPECT_EQ(config.optimizer.betas[1], 0.99);
  EXPECT_EQ(config.schedule.final_fraction, 0.2);
  EXPECT_EQ(config.checkpoint.every_seconds, 600.0);
}

TEST(Config, PrintedTextReadsBackToTheSame) {
  JobConfig config;
  config.job.dir = "tab\there \"and\" \\ \x01 and ü";
  config.job.stop_after = 0.1;
  config.optimizer.lr = 1.0 / 3.0;
  config.model.dropout = 0.3F;
  config.model.hidden = {};
  config.data.validation = "0.5";
  config.comm.coordinators = 2;
  config.checkpoint.every_seconds = 90061.0;
  const std::string text = print_config(config);
  const JobConfig again = config_from_text(text, "job.toml", {});
  EXPECT_EQ(print_config(again), text);
  EXPECT_EQ(again.job.dir, config.job.dir);
  EXPECT_EQ(again.job.stop_after, config.job.stop_after);
  EXPECT_EQ(again.optimizer.lr, config.optimizer.lr);
  EXPECT_EQ(again.model.dropout, config.model.dropout);
  EXPECT_EQ(again.data.validation, "0.5");
  EXPECT_EQ(again.checkpoint.every_seconds, 90061.0);
}

TEST(Config, LaterSourcesWin) {
  const std::string text = "[batch]\nsize = 1\n[optimizer]\nlr = 1.0\n[log]\nevery = 1\n";
  const ConfigSources sources{.arguments = {"log.every=3"},
                              .environment = {"PATH=/bin", "BALLAST_OPTIMIZER_LR=2.0", "BALLAST_LOG_EVERY=2"}};
  const JobConfig config = config_from_text(text, "job.toml", sources);
  EXPECT_EQ(config.batch.size, 1);
  EXPECT_EQ(config.optimizer.lr, 2.0);
  EXPECT_EQ(config.log.every, 3);
  EXPECT_EQ(config.log.statistics, JobConfig{}.log.statistics);
}

TEST(Config, ArgumentsMayLeaveQuotesOut) {
  const ConfigSources sources{
      .arguments = {"optimizer.name=sgd", "job.dir=2024", "data.train=a b=c.txt", "model.hidden=[8, 9]",
                    "log.progress=\"none\"", "data.validation_labels=2024-01-01"},
      .environment = {"BALLAST_OPTIMIZER_WEIGHT_DECAY=0.5"}};
  const JobConfig config = config_from_text("", "job.toml", sources);
  EXPECT_EQ(config.optimizer.name, "sgd");
  EXPECT_EQ(config.job.dir, "2024");
  EXPECT_EQ(config.data.train, "a b=c.txt");
  EXPECT_EQ(config.model.hidden, (std::vector<std::int64_t>{8, 9}));
  EXPECT_EQ(config.log.progress, "none");
  EXPECT_EQ(config.data.validation_labels, "2024-01-01");
  EXPECT_EQ(config.optimizer.weight_decay, 0.5);
}

TEST(Config, AnArgumentCannotSmuggleInAnotherKey) {
  const JobConfig config = config_from_text("", "job.toml", {.arguments = {"job.dir=1\nvalue2 = 3"}});
  EXPECT_EQ(config.job.dir, "1\nvalue2 = 3");
}

TEST(Config, NamesUnknownKeysWithTheNearestOne) {
  EXPECT_THAT(
      mistakes("[optimizer]\nlearning = 1\nmomentun = 0.9\n"),
      ElementsAre("job.toml:2:1: unknown key 'learning' in [optimizer]; its keys are name, lr, weight_decay, betas, "
                  "momentum, nesterov, decay, epsilon, clip, l1, l2",
                  "job.toml:3:1: unknown key 'momentun' in [optimizer]; did you mean 'momentum'?"));
  EXPECT_THAT(mistakes("[optimizer]\n  warmup = 10\n"),
              ElementsAre("job.toml:2:3: unknown key 'warmup' in [optimizer]; it belongs in [schedule]"));
}

TEST(Config, NamesUnknownSectionsOnce) {
  EXPECT_THAT(mistakes("[optimiser]\nlr = 1\nclip = 2\n"),
              ElementsAre("job.toml:1:1: unknown section [optimiser]; did you mean [optimizer]?"));
  EXPECT_THAT(
      mistakes("\n[zoo]\n"),
      ElementsAre(
          "job.toml:2:1: unknown section [zoo]; sections are job, model, data, batch, optimizer, outer, schedule, "
          "precision, compute, comm, memory, evaluate, checkpoint, log, watch, cluster"));
}

TEST(Config, SaysWhereAKeyOutsideAnySectionBelongs) {
  EXPECT_THAT(mistakes("lr = 1\n"),
              ElementsAre("job.toml:1:1: key 'lr' stands in no section; write it under [optimizer] or [outer]"));
  EXPECT_THAT(mistakes("model = 'gpt'\n"), ElementsAre("job.toml:1:1: 'model' is a section; write it as [model]"));
  EXPECT_THAT(mistakes("[[model]]\nname = 'gpt'\n"),
              ElementsAre(HasSubstr("'model' is a section; write it as [model]")));
}

TEST(Config, NamesWrongTypes) {
  EXPECT_THAT(mistakes("[job]\nsteps = 'many'\nseed = 1.5\nepochs = true\n[data]\nshuffle = 1\n"),
              ElementsAre("job.toml:2:9: job.steps: expected an integer, got the text \"many\"",
                          "job.toml:3:8: job.seed: expected an integer, got 1.5",
                          "job.toml:4:10: job.epochs: expected a number, got true",
                          "job.toml:6:11: data.shuffle: expected true or false, got 1"));
  EXPECT_THAT(
      mistakes("[job]\nsteps = 1e4\ndir = 5\n[model]\nchannels = [1, 2]\nhidden = [4, 'x']\nclasses = {a = 1}\n"),
      ElementsAre(HasSubstr("2:9: job.steps: expected an integer, got 10000.0; write 10000"),
                  HasSubstr("3:7: job.dir: expected a text in quotes, got 5"),
                  HasSubstr("5:12: model.channels: expected a list of 3 integers, got [1, 2]"),
                  HasSubstr("6:10: model.hidden: expected an integer, got the text \"x\", in [4, \"x\"]"),
                  HasSubstr("7:11: model.classes: expected an integer, got a table")));
}

TEST(Config, NamesWhatIsOutOfRange) {
  EXPECT_THAT(
      mistakes("[optimizer]\nlr = -1.0\nmomentum = 1\nbetas = [0.9, 2]\n[batch]\nsize = 0\n[model]\ndropout = nan\n"),
      ElementsAre("job.toml:2:6: optimizer.lr: -1.0 is out of range: allowed is greater than 0",
                  "job.toml:3:12: optimizer.momentum: 1 is out of range: allowed is at least 0 and below 1",
                  "job.toml:4:9: optimizer.betas: 2 is out of range: allowed is at least 0 and below 1, in [0.9, 2]",
                  "job.toml:6:8: batch.size: 0 is out of range: allowed is 1 to 1000000000",
                  "job.toml:8:11: model.dropout: nan is out of range: allowed is at least 0 and below 1"));
}

TEST(Config, SuggestsTheNearestChoice) {
  EXPECT_THAT(
      mistakes("[optimizer]\nname = 'admw'\n"),
      ElementsAre("job.toml:2:8: optimizer.name: \"admw\" is not one of \"sgd\", \"adagrad\", \"rmsprop\", \"adam\", "
                  "\"adamw\"; did you mean \"adamw\"?"));
}

TEST(Config, NamesBadFormsOfSpecialKeys) {
  EXPECT_THAT(
      mistakes("[job]\nstop_after = 'later'\ndir = ''\n[checkpoint]\nevery = 'often'\n[comm]\ncoordinators = 'some'\n"
               "[data]\nvalidation = true\n"),
      ElementsAre(
          "job.toml:2:14: job.stop_after: expected a duration such as \"3h50m\", \"10min\" or \"90s\", got the text "
          "\"later\"",
          "job.toml:3:7: job.dir: expected the path of a folder, got the text \"\"",
          "job.toml:5:9: checkpoint.every: expected steps, or a duration such as \"10min\", got the text \"often\"",
          "job.toml:7:16: comm.coordinators: expected \"all\", or an integer, got the text \"some\"",
          "job.toml:9:14: data.validation: expected a path in quotes, or a fraction, got true"));
  EXPECT_THAT(mistakes("[data]\nvalidation = 1.5\n[comm]\ncoordinators = 0\n"),
              ElementsAre(HasSubstr("data.validation: 1.5 is out of range"),
                          HasSubstr("comm.coordinators: 0 is out of range")));
}

TEST(Config, NamesSyntaxErrorsAndDuplicateKeysByPosition) {
  EXPECT_THAT(mistakes("[optimizer]\nname = sgd\n"),
              ElementsAre(AllOf(StartsWith("job.toml:2:"), HasSubstr("; a text needs quotes"))));
  EXPECT_THAT(mistakes("[data]\ntrain = fast\n"),
              ElementsAre(AllOf(StartsWith("job.toml:2:"), HasSubstr("; a text needs quotes"))));
  const std::vector<std::string> twice = mistakes("[job]\nsteps = 1\nsteps = 2\n");
  EXPECT_THAT(twice, ElementsAre(StartsWith("job.toml:3:")));
  EXPECT_THAT(twice, ElementsAre(HasSubstr("steps")));
  EXPECT_THAT(mistakes("[job]\nseed = 1\n[job]\n"), ElementsAre(StartsWith("job.toml:3:")));
  EXPECT_THAT(mistakes(std::string("[job]\ndir = \"\xff\"\n")), ElementsAre(StartsWith("job.toml:2:")));
}

TEST(Config, ReportsEveryMistakeOfEverySourceAtOnce) {
  const ConfigSources sources{.arguments = {"optimizer.lrr=1", "nonsense", "batch.size=none"},
                              .environment = {"BALLAST_OPTIMISER_LR=1", "BALLAST_LOG_EVERY=0", "BALLAST_JOB=1"},
                              .use = ConfigUse::kTrain};
  EXPECT_THAT(mistakes("[job]\nstep = 1\n", sources),
              ElementsAre("job.toml:2:1: unknown key 'step' in [job]; did you mean 'steps'?",
                          HasSubstr("BALLAST_JOB: unknown key '' in [job]; its keys are"),
                          "BALLAST_LOG_EVERY: log.every: 0 is out of range: allowed is 1 or more",
                          "BALLAST_OPTIMISER_LR: unknown section [optimiser]; did you mean [optimizer]?",
                          "argument 'optimizer.lrr=1': unknown key 'lrr' in [optimizer]; did you mean 'lr'?",
                          "argument 'nonsense': expected section.key=value, such as optimizer.lr=3e-4",
                          "argument 'batch.size=none': batch.size: expected an integer, got the text \"none\"",
                          "job.toml: nothing says how long to train; set job.steps or job.epochs"));
}

TEST(Config, ASyntaxErrorDoesNotHideBadArguments) {
  EXPECT_THAT(mistakes("[job", {.arguments = {"job.x=1"}, .use = ConfigUse::kTrain}),
              ElementsAre(StartsWith("job.toml:1:"), StartsWith("argument 'job.x=1': unknown key")));
}

TEST(Config, RefusesArgumentsWithoutAKey) {
  EXPECT_THAT(argument_mistakes("lr=1"), ElementsAre(HasSubstr("expected section.key=value")));
  EXPECT_THAT(argument_mistakes("optimizer.lr"), ElementsAre(HasSubstr("expected section.key=value")));
  EXPECT_THAT(argument_mistakes("+optimizer.lr=1"), ElementsAre(HasSubstr("did you mean [optimizer]?")));
}

TEST(Config, TrainingNeedsExactlyOneLength) {
  EXPECT_THAT(mistakes("[job]\nsteps = 5\n", training()), IsEmpty());
  EXPECT_THAT(mistakes("[job]\nepochs = 0.5\n", training()), IsEmpty());
  EXPECT_THAT(mistakes("", training()), ElementsAre(HasSubstr("set job.steps or job.epochs")));
  EXPECT_THAT(mistakes(""), IsEmpty());
  EXPECT_THAT(
      mistakes("[job]\nsteps = 5\nepochs = 2.0\n", training()),
      ElementsAre("job.toml:2:9: job.steps = 5 and job.epochs = 2 both say how long to train; set one of them to 0"));
}

TEST(Config, ChecksRulesBetweenKeys) {
  EXPECT_THAT(
      mistakes("[batch]\nsize = 30\nshards = 4\n"),
      ElementsAre("job.toml:2:8: batch.size = 30 cannot be cut into batch.shards = 4 equal shards; use 28 or 32"));
  EXPECT_THAT(mistakes("[batch]\nsize = 3\nshards = 4\n"), ElementsAre(HasSubstr("equal shards; use 4")));
  EXPECT_THAT(mistakes("[model]\nname = 'gpt'\nwidth = 100\nheads = 3\n"),
              ElementsAre("job.toml:3:9: model.width = 100 is not a multiple of model.heads = 3"));
  EXPECT_THAT(mistakes("[data]\nformat = 'idx'\n"),
              ElementsAre("job.toml: data.train is missing: data.format = \"idx\" needs a path"));
  EXPECT_THAT(
      mistakes("[model]\nname = 'gpt'\n[data]\nformat = 'idx'\ntrain = 'x'\n"),
      ElementsAre(StartsWith("job.toml:4:10: model.name = \"gpt\" reads tokens; data.format = \"idx\" is images")));
  EXPECT_THAT(mistakes("[data]\nformat = 'text'\ntrain = 'x'\n"), ElementsAre(HasSubstr("\"mlp\" reads features")));
  EXPECT_THAT(mistakes("[optimizer]\nname = 'sgd'\nnesterov = true\n"),
              ElementsAre("job.toml:3:12: optimizer.nesterov = true needs optimizer.momentum above 0"));
  EXPECT_THAT(mistakes("[evaluate]\npatience = 3\n"), ElementsAre(HasSubstr("evaluate.patience needs evaluate.every")));
}

TEST(Config, ARuleBetweenKeysNamesTheArgumentThatBrokeIt) {
  EXPECT_THAT(mistakes("[batch]\nsize = 32\nshards = 4\n", {.arguments = {"batch.size=30"}}),
              ElementsAre(StartsWith("argument 'batch.size=30': batch.size = 30 cannot be cut")));
}

TEST(Config, SaysNoMoreAboutAKeyThatIsBadAlready) {
  EXPECT_THAT(mistakes("[data]\nformat = 'text'\ntrain = 5\n[model]\nname = 'gpt'\n"),
              ElementsAre(HasSubstr("data.train: expected a text in quotes")));
}

TEST(Config, NamesAFileThatCannotBeRead) {
  const auto message = [](const std::string& path) -> std::string {
    try {
      (void)load_config(path, {});
      return "";
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.code(), ExitCode::kConfig);
      return error.what();
    }
  };
  EXPECT_EQ(message("no/such.toml"),
            "no/such.toml: cannot be read: No such file or directory; name a job file, see examples/");
  EXPECT_EQ(message("/"), "/: is a folder; name the job file in it");
  const std::string large = testing::TempDir() + "/large.toml";
  std::ofstream(large) << std::string((1 << 20) + 1, '\n');
  EXPECT_EQ(message(large), large + ": is larger than 1 MiB, so it is hardly a job file");
  std::ofstream(large, std::ios::trunc) << std::string(1 << 20, '\n');
  EXPECT_EQ(message(large), "");
  std::filesystem::remove(large);
}

TEST(Config, ReadsEveryExample) {
  int examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator("examples")) {
    if (entry.path().extension() != ".toml") continue;
    ++examples;
    EXPECT_NO_THROW((void)load_config(entry.path().string(), training())) << entry.path();
  }
  EXPECT_GT(examples, 0);
}

}  // namespace
}  // namespace ballast
