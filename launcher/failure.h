// Defines: print_failure: the last words of a process.
#pragma once

#include "compute/error.h"

namespace ballast {

/// "ballast: <message>" to stderr; for defects of ours also where it was thrown.
void print_failure(const Error& error);

}  // namespace ballast
