// Defines: print_failure: the last words of a process.
#pragma once

#include "compute/error.h"

namespace ballast {

/// "ballast: <message>" to stderr; for several mistakes of a configuration a heading and a line each.
void print_failure(const Error& error);

}  // namespace ballast
