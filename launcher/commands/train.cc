#include <cstdio>

#include "launcher/agreement.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/console.h"
#include "launcher/workers.h"
#include "runtime/trainer.h"

namespace ballast {

ExitCode run(const TrainCommand& command, Process& process) {
  return run_as_worker(process, [&](Communicator& world) {
    const auto load = [&] {
      return load_config(command.job, {command.overrides, process_environment(), ConfigUse::kTrain});
    };
    const AgreedConfig agreed = agree_on_config(world, load);
    Console console(progress_named(agreed.config.log.progress), stdout, stderr);
    return train(agreed.config, agreed.text, world, console).code;
  });
}

}  // namespace ballast
