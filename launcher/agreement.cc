#include "launcher/agreement.h"

#include "compute/error.h"
#include "launcher/config.h"

namespace ballast {

AgreedConfig agree_on_config(Communicator& world, const std::function<JobConfig()>& load) {
  std::string text, mistake;
  if (world.rank() == 0) {
    try {
      text = print_config(load());
    } catch (const ConfigError& error) {
      mistake = error.what();
    }
  }
  text = broadcast_string(world, std::move(text), 0);
  mistake = broadcast_string(world, std::move(mistake), 0);
  if (!mistake.empty()) throw ConfigError(mistake);
  return {config_from_text(text, "resolved job file", {}), text};
}

}  // namespace ballast
