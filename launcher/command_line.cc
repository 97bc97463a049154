#include "launcher/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "launcher/bench/bench.h"
#include "launcher/launch/arguments.h"
#include "launcher/number_text.h"
#include "launcher/reference.h"
#include "launcher/suggestion.h"
#include "launcher/version.h"

namespace ballast {
namespace {

[[noreturn]] void usage_error(const std::string& message) { throw Error(message, ExitCode::kUsage); }

/// The commands' options as CLI11 fills them in.
struct Parsed {
  TrainCommand train;
  LaunchCommand launch;
  EvalCommand eval;
  GenerateCommand generate;
  InspectCommand inspect;
  VerifyCommand verify;
  PlanCommand plan;
  ConfigCommand config;
  BenchCommand bench;
  DoctorCommand doctor;
  std::vector<std::string> topic;
};

constexpr const char* kOverrides =
    "section.key=value settings that win over the file's; --section.key=value is the same";
constexpr const char* kRun = "Run folder or checkpoint (of a run folder: the newest checkpoint)";

CLI::Validator number_in(double low, double high = 1e15) {
  const auto check = [=](const std::string& text) -> std::string {
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    if (whole && value >= low && value <= high) return "";
    return '"' + text + "\" is not a number from " + number_text(low) + " to " + number_text(high);
  };
  return {check, "", ""};
}

void add_training(CLI::App& app, Parsed& to) {
  CLI::App* train = app.add_subcommand("train", "Train a model as a job file says, or go on with a run");
  train->add_option("JOB", to.train.job, "Job file (TOML)")->required()->type_name("");
  train->add_option("SETTINGS", to.train.overrides, kOverrides)->type_name("");
  train->footer(
      "Examples:\n"
      "  ballast train job.toml\n"
      "  mpirun -n 4 ballast train job.toml optimizer.lr=3e-4 job.dir=runs/second\n"
      "  srun --mpi=pmix ballast train job.toml job.stop_after=3h50m\n\n"
      "The same command again goes on from the newest checkpoint. SIGUSR1, SIGUSR2 and SIGTERM save a checkpoint\n"
      "and stop with exit code 75. Variables such as BALLAST_OPTIMIZER_LR work like overrides, which win over them.\n"
      "'ballast help train' lists all keys.");
}

void add_using(CLI::App& app, Parsed& to) {
  CLI::App* eval =
      app.add_subcommand("eval", "Measure loss and accuracy of a checkpoint on all of its validation data");
  eval->add_option("RUN", to.eval.path, kRun)->required()->type_name("");
  eval->add_option("SETTINGS", to.eval.overrides, kOverrides)->type_name("");
  eval->add_flag("--json", to.eval.json, "Print one JSON object (docs/json.md)");
  eval->footer(
      "Examples:\n  ballast eval runs/gpt data.validation=other.txt\n  mpirun -n 4 ballast eval runs/gpt "
      "evaluate.batches=20");

  CLI::App* generate = app.add_subcommand("generate", "Write text with a trained gpt");
  generate->add_option("RUN", to.generate.path, kRun)->required()->type_name("");
  generate->add_option("SETTINGS", to.generate.overrides, kOverrides)->type_name("");
  generate
      ->add_option("-p,--prompt", to.generate.prompt,
                   "What to go on from; for tokens: numbers with blanks between them")
      ->type_name("TEXT");
  generate->add_option("-n,--tokens", to.generate.tokens, "How many tokens to add (default 200)")
      ->type_name("N")
      ->check(number_in(0));
  generate
      ->add_option("-t,--temperature", to.generate.temperature, "0: always the likeliest; higher is wilder (default 1)")
      ->type_name("T")
      ->check(number_in(0));
  generate->add_option("-k,--top-k", to.generate.top_k, "Draw among the K likeliest; 0: all (default 0)")
      ->type_name("K")
      ->check(number_in(0));
  generate->add_option("-s,--seed", to.generate.seed, "Key of the draws (default 1)")
      ->type_name("S")
      ->check(number_in(0));
  generate->footer("Example:\n  ballast generate runs/gpt --prompt 'It was' --tokens 400 --temperature 0.8 --top-k 40");
}

void add_looking(CLI::App& app, Parsed& to) {
  CLI::App* inspect = app.add_subcommand("inspect", "Show the tensors of a checkpoint with statistics and histograms");
  inspect->add_option("RUN", to.inspect.path, kRun)->required()->type_name("");
  inspect->add_option("--tensor", to.inspect.tensor, "Only tensors whose name matches, for example '*.weight'")
      ->type_name("PATTERN");
  inspect->add_flag("--optimizer", to.inspect.optimizer, "Optimizer state as well");
  inspect->add_flag("--state", to.inspect.state, "The training state as well: step, seed, job file");
  inspect->add_flag("--json", to.inspect.json, "Print one JSON object (docs/json.md)");
  inspect->footer("Example:\n  ballast inspect runs/gpt --tensor 'blocks.0.*'");

  CLI::App* verify =
      app.add_subcommand("verify", "Check every digest of a checkpoint; print the digest of its weights");
  verify->add_option("RUN", to.verify.path, kRun)->required()->type_name("");
  verify->add_flag("--json", to.verify.json, "Print one JSON object (docs/json.md)");
  verify->footer(
      "Equal weights have equal digests, whoever wrote them on however many workers. Exit code 65: damaged.\n\n"
      "Example:\n  ballast verify runs/gpt/checkpoints/step-000000000500");
}

void add_benches(CLI::App& app, BenchCommand& to) {
  CLI::App* all = app.add_subcommand("bench", "Measure this machine: products, memory, reduction, checkpoints");
  all->require_subcommand(1);
  all->footer("Example:\n  mpirun -n 2 ballast bench memory\n'ballast help bench gemm' says more about gemm.");
  for (const Bench& bench : benches()) {
    CLI::App* one = all->add_subcommand(bench.name, bench.summary);
    one->final_callback([&to, &bench] { to.bench = bench.name; });
    const auto has = [&](BenchOption option) { return (bench.options & option) != 0; };
    if (has(kBenchJob)) {
      one->add_option("JOB", to.job, "Job file (TOML)")->required()->type_name("");
      one->add_option("SETTINGS", to.overrides, kOverrides)->type_name("");
    }
    if (has(kBenchShapes)) one->add_option("--shapes", to.shapes, "Layers to time")->type_name("MxNxK,...");
    if (has(kBenchSizes)) one->add_option("--sizes", to.sizes, "Bytes of gradients: 8,64K,1G")->type_name("N,...");
    if (has(kBenchPrecision)) {
      one->add_option("--precision", to.precision, "f32, bf16 or both (default both)")->type_name("P");
    }
    if (has(kBenchSeconds)) {
      one->add_option("--seconds", to.seconds, "Time to measure for, about, in all (default 10)")
          ->type_name("T")
          ->check(number_in(0, 1e5));
    }
    if (has(kBenchThreads)) {
      one->add_option("--threads", to.threads, "Of a worker; 0: its share of the cores (default 0)")
          ->type_name("N")
          ->check(number_in(0, 65536));
    }
    one->add_option("--backend", to.backend, "Hardware: auto, cpu or cuda (default auto, or as the job says)")
        ->type_name("B")
        ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    one->add_flag("--json", to.json, "Print one JSON object (docs/json.md)");
    one->footer(bench.footer);
  }
}

void add_planning(CLI::App& app, Parsed& to) {
  CLI::App* plan = app.add_subcommand("plan", "Say what a job needs, without running it: memory, traffic, disk");
  plan->add_option("JOB", to.plan.job, "Job file (TOML)")->required()->type_name("");
  plan->add_option("SETTINGS", to.plan.overrides, kOverrides)->type_name("");
  plan->add_option("-w,--workers", to.plan.workers, "For so many workers (default 1)")
      ->type_name("N")
      ->check(number_in(1, 65536));
  plan->add_option("--tokens", to.plan.tokens, "Time, energy and cost of so many tokens, or samples (needs a cluster)")
      ->type_name("N")
      ->check(number_in(0, 1e18));
  plan->add_option("--svg", to.plan.svg, "Draw the step and the scaling curve into this file (needs a cluster)")
      ->type_name("FILE");
  plan->add_flag("-v,--verbose", to.plan.verbose, "The table of operations as well");
  plan->add_flag("--json", to.plan.json, "Print one JSON object (docs/json.md)");
  plan->footer(
      "Where a section [cluster] or settings describe machines, a step on them is simulated (docs/scaling.md).\n\n"
      "Examples:\n  ballast plan job.toml --workers 8 batch.micro=4\n"
      "  ballast plan job.toml cluster.nodes=16 cluster.workers=8 --tokens 1e9 --svg plan.svg");

  CLI::App* config =
      app.add_subcommand("config", "Print a job file with every key: as resolved, as default, as reference");
  config->add_option("JOB", to.config.job, "Job file (TOML)")->type_name("");
  config->add_option("SETTINGS", to.config.overrides, kOverrides)->type_name("");
  config->add_flag("--defaults", to.config.defaults, "A commented job file of all defaults, to start from");
  config->add_flag("--markdown", to.config.markdown, "The reference of all keys (docs/config.md)");
  config->footer("Examples:\n  ballast config job.toml optimizer.lr=3e-4\n  ballast config --defaults > job.toml");

  add_benches(app, to.bench);

  CLI::App* doctor =
      app.add_subcommand("doctor", "Say what a job finds here: processor, MPI, GPUs, libraries, workers");
  doctor->add_option("SETTINGS", to.doctor.overrides, kOverrides)->type_name("");
  doctor->add_flag("--json", to.doctor.json, "Print one JSON object (docs/json.md)");
  doctor->footer(
      "What is missing is said in the words of the loader or the driver, and is no failure: the exit code is 0.\n\n"
      "Examples:\n  ballast doctor\n  mpirun -n 4 ballast doctor compute.backend=cuda");

  CLI::App* help = app.add_subcommand("help", "Explain a command, a section of the job file, or a key");
  help->add_option("TOPIC", to.topic, "For example: train, optimizer, optimizer.lr, bench gemm")->type_name("");
  app.add_subcommand("version", "Print the version");
}

std::vector<CLI::App*> commands_of(CLI::App& app) {
  return app.get_subcommands([](CLI::App*) { return true; });
}

std::string overview(CLI::App& app) {
  std::string text =
      "Ballast " + std::string(version()) +
      ": data-parallel training of neural networks over MPI,\n"
      "with the same bits on any number of workers.\n\nUsage: ballast COMMAND [arguments]\n\nCommands:\n";
  for (const CLI::App* command : commands_of(app)) {
    text += "  " + command->get_name() + std::string(11 - command->get_name().size(), ' ') +
            command->get_description() + '\n';
  }
  return text +
         "\nStart:\n"
         "  ballast config --defaults > job.toml     a job file with every key explained\n"
         "  ballast train job.toml job.steps=100     one worker\n"
         "  mpirun -n 4 ballast train job.toml       four\n\n"
         "'ballast help COMMAND' says more. Exit codes: 0 done, 64 usage, 65 damaged data or checkpoint, 73 run\n"
         "folder in use, 74 disk, 75 stopped after a checkpoint (run it again), 76 workers disagree, 78 job file, 79 "
         "hang.\n";
}

std::vector<std::string> names_of(const std::vector<CLI::App*>& commands) {
  std::vector<std::string> names(commands.size());
  std::transform(commands.begin(), commands.end(), names.begin(), [](const CLI::App* app) { return app->get_name(); });
  return names;
}

/// The command that was chosen, or the one below it.
CLI::App* deepest(CLI::App* command) {
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return command;
}

/// "train", "bench gemm".
std::string full_name(const CLI::App& command) {
  const CLI::App* above = command.get_parent();
  const bool top = above == nullptr || above->get_parent() == nullptr;
  return top ? command.get_name() : full_name(*above) + ' ' + command.get_name();
}

/// `name` may be of two words: "bench gemm".
std::string command_help(CLI::App& app, const std::string& name) {
  const std::size_t blank = name.find(' ');
  CLI::App* command = app.get_subcommand(name.substr(0, blank));
  std::string before = "ballast";
  if (blank != std::string::npos) {
    before += ' ' + command->get_name();
    command = command->get_subcommand(name.substr(blank + 1));
  }
  std::string text = command->help(before);
  text.erase(0, text.find_first_not_of('\n'));
  return text;
}

std::string help_on(CLI::App& app, const std::vector<std::string>& words) {
  std::string topic;
  for (const std::string& word : words) topic += (topic.empty() ? "" : " ") + word;
  std::vector<std::string> commands = names_of(commands_of(app));
  for (const Bench& bench : benches()) commands.push_back(std::string("bench ") + bench.name);
  if (topic.empty()) return overview(app);
  if (std::find(commands.begin(), commands.end(), topic) != commands.end()) {
    return command_help(app, topic) + (topic == "train" ? "\nKeys of a job file\n\n" + all_keys_help() : "");
  }
  if (std::string text = topic_help(topic); !text.empty()) return text;
  std::vector<std::string> topics = commands;
  for (const std::string& name : help_topics()) topics.push_back(name);
  const std::string near = suggestion(topic, topics);
  usage_error("no help on '" + topic + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?"));
}

// "--optimizer.lr=3e-4" and "--optimizer.lr 3e-4" become "optimizer.lr=3e-4": no option of ours has a dot.
std::vector<std::string> undashed(const std::vector<std::string>& arguments) {
  std::vector<std::string> plain;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const std::string name = argument.substr(0, argument.find('='));
    if (!argument.starts_with("--") || name.find('.') == std::string::npos) {
      plain.push_back(argument);
    } else if (name.size() == argument.size() && i + 1 < arguments.size()) {
      plain.push_back(argument.substr(2) + '=' + arguments[++i]);
    } else {
      plain.push_back(argument.substr(2));
    }
  }
  return plain;
}

void refuse_unknown_options(const CLI::App& command) {
  const std::vector<std::string> unknown = command.remaining();
  if (unknown.empty()) return;
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string near = suggestion(unknown.front().substr(0, unknown.front().find('=')), known);
  const std::string name = full_name(command);
  const std::string hint = near.empty() ? "see 'ballast help " + name + "'" : "did you mean '" + near + "'?";
  usage_error(name + ": unknown argument '" + unknown.front() + "'; " + hint);
}

/// The word after "bench" must be one of ours: CLI11 would only say that one is required.
void check_bench_name(const std::vector<std::string>& arguments) {
  if (arguments.front() != "bench") return;
  std::vector<std::string> names;
  for (const Bench& bench : benches()) names.emplace_back(bench.name);
  if (arguments.size() == 1) usage_error("bench: no benchmark; 'ballast help bench' lists them");
  const std::string& word = arguments[1];
  if (word.starts_with("-") || std::find(names.begin(), names.end(), word) != names.end()) return;
  const std::string near = suggestion(word, names);
  usage_error("bench: unknown benchmark '" + word + "'; " +
              (near.empty() ? "'ballast help bench' lists them" : "did you mean '" + near + "'?"));
}

[[noreturn]] void unknown_command(const std::string& word, const std::vector<std::string>& commands) {
  const std::string near = suggestion(word, commands);
  std::string hint = "'ballast help' lists the commands";
  if (!near.empty()) hint = "did you mean '" + near + "'?";
  if (word.ends_with(".toml")) hint = "did you mean 'ballast train " + word + "'?";
  usage_error("unknown command '" + word + "'; " + hint);
}

void parse(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    throw;
  } catch (const CLI::ParseError& error) {
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    const std::string name = chosen.empty() ? "" : full_name(*deepest(chosen.front()));
    usage_error((name.empty() ? "" : name + ": ") + std::string(error.what()) + "; see 'ballast help" +
                (name.empty() ? "" : " " + name) + "'");
  }
}

Command chosen_command(CLI::App& app, Parsed& parsed) {
  const std::string name = app.get_subcommands().front()->get_name();
  if (name == "train") return std::move(parsed.train);
  if (name == "launch") return std::move(parsed.launch);
  if (name == "eval") return std::move(parsed.eval);
  if (name == "generate") return std::move(parsed.generate);
  if (name == "inspect") return std::move(parsed.inspect);
  if (name == "verify") return std::move(parsed.verify);
  if (name == "plan") return std::move(parsed.plan);
  if (name == "config") return std::move(parsed.config);
  if (name == "bench") return std::move(parsed.bench);
  if (name == "doctor") return std::move(parsed.doctor);
  if (name == "help") return TextCommand{help_on(app, parsed.topic)};
  return TextCommand{"ballast " + std::string(version()) + "\n"};
}

}  // namespace

Command parse_command_line(std::vector<std::string> arguments) {
  Parsed parsed;
  CLI::App app("", "ballast");
  app.get_formatter()->column_width(30);
  app.require_subcommand(1);
  add_training(app, parsed);
  add_launch(app, parsed.launch);
  add_using(app, parsed);
  add_looking(app, parsed);
  add_planning(app, parsed);
  for (CLI::App* command : commands_of(app)) {
    command->allow_extras(command->get_name() != "bench");
    for (CLI::App* below : commands_of(*command)) below->allow_extras();
  }

  if (arguments.empty()) usage_error("no command; 'ballast help' lists the commands");
  const std::string first = arguments.front();
  if (first == "--version" || first == "-V") arguments.front() = "version";
  if (first == "--help" || first == "-h") arguments.front() = "help";
  const std::vector<std::string> names = names_of(commands_of(app));
  if (std::find(names.begin(), names.end(), arguments.front()) == names.end()) {
    unknown_command(first, names);
  }
  check_bench_name(arguments);
  try {
    parse(app, undashed(arguments));
  } catch (const CLI::CallForHelp&) {
    return TextCommand{command_help(app, full_name(*deepest(app.get_subcommand(arguments.front()))))};
  }
  refuse_unknown_options(*deepest(app.get_subcommands().front()));
  return chosen_command(app, parsed);
}

}  // namespace ballast
