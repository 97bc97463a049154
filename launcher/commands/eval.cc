#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/reports.h"
#include "launcher/trained_model.h"
#include "launcher/workers.h"
#include "runtime/dataset.h"
#include "runtime/evaluator.h"
#include "runtime/supervision.h"

namespace ballast {
namespace {

void print(const EvalReport& report) {
  std::printf("%s\n  step %lld, %lld samples\n  loss     %.6f nats\n  accuracy %.4f\n", report.checkpoint.c_str(),
              static_cast<long long>(report.step), static_cast<long long>(report.samples), report.loss,
              report.accuracy);
}

}  // namespace

ExitCode run(const EvalCommand& command, Process& process) {
  return run_as_worker(process, [&](Communicator& world) {
    // A look during training may be short; a measurement takes everything unless it is told otherwise.
    std::vector<std::string> settings = {"evaluate.batches=0"};
    settings.insert(settings.end(), command.overrides.begin(), command.overrides.end());
    TrainedModel trained = open_trained_model(world, command.path, settings, 0);
    const JobConfig& config = trained.config;
    const Datasets data =
        open_datasets(config.data, trained.model.input(), static_cast<std::uint64_t>(config.job.seed));
    if (data.validation->size() == 0) {
      throw ConfigError("there is no validation data: set data.validation to a path or a fraction above 0");
    }
    Supervision supervision(world, {.timeout_seconds = config.watch.timeout, .collectives = config.watch.collectives});
    const EvaluationResult result =
        evaluate(trained.model, trained.weights.memory(), *data.validation, trained.model.max_samples(),
                 config.evaluate.batches * config.batch.size, supervision.world());
    if (world.rank() != 0) return ExitCode::kOk;
    const EvalReport report{trained.checkpoint.directory(), trained.checkpoint.step(), result.loss, result.accuracy,
                            result.samples};
    if (command.json) {
      std::fputs(to_json(report).c_str(), stdout);
    } else {
      print(report);
    }
    return ExitCode::kOk;
  });
}

}  // namespace ballast
