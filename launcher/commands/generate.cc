#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/prompt.h"
#include "launcher/trained_model.h"
#include "launcher/workers.h"
#include "runtime/generator.h"

namespace ballast {
namespace {

void write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void write_text(TrainedModel& trained, const GenerateCommand& command) {
  const std::string& format = trained.config.data.format;
  const InputSpec& input = trained.model.input();
  if (input.kind != InputSpec::Kind::kTokens) {
    throw ConfigError(trained.checkpoint.directory() + ": holds a " + trained.config.model.name +
                      ", which writes no text; generate needs a gpt");
  }
  const std::vector<std::int32_t> prompt = prompt_tokens(command.prompt, format, input.classes);
  for (const std::int32_t token : prompt) write(token_text(token, format));
  generate(trained.model, trained.weights.memory(), prompt,
           {.tokens = command.tokens,
            .temperature = command.temperature,
            .top_k = command.top_k,
            .seed = static_cast<std::uint64_t>(command.seed)},
           [&](std::int32_t token) { write(token_text(token, format)); });
  write("\n");
}

}  // namespace

ExitCode run(const GenerateCommand& command, Process& process) {
  return run_as_worker(process, [&](Communicator& world) {
    TrainedModel trained = open_trained_model(world, command.path, command.overrides, 1);
    if (world.rank() == 0) write_text(trained, command);
    return ExitCode::kOk;
  });
}

}  // namespace ballast
