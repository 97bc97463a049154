#include "launcher/agreement.h"

#include "launcher/config.h"
#include "launcher/failure.h"

namespace ballast {

std::optional<AgreedConfig> agree_on_config(Communicator& world, const std::function<JobConfig()>& load) {
  std::string text;  // empty after a mistake: a resolved configuration never is
  if (world.rank() == 0) {
    try {
      text = print_config(load());
    } catch (const ConfigError& error) {
      print_failure(error);
    }
  }
  text = broadcast_string(world, std::move(text), 0);
  if (text.empty()) return std::nullopt;
  return AgreedConfig{config_from_text(text, "resolved job file", {}), text};
}

}  // namespace ballast
