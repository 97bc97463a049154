// Defines: add_launch: the arguments of `ballast launch`.
#pragma once

#include <CLI/CLI.hpp>

#include "launcher/commands/commands.h"

namespace ballast {

void add_launch(CLI::App& app, LaunchCommand& to);

}  // namespace ballast
