// Defines: backend_under_test: the backend that a test binary checks, chosen by whoever starts it.
//
// TESTED_BACKEND   "cpu" (default) or "cuda"
// TESTED_PLUGINS   folder of the plugins; empty: beside the program
#pragma once

#include <memory>

#include "compute/backend.h"

namespace ballast {

/// Throws what make_backend throws. tested_backend.cc also holds main(), which ends with 77 (skipped) before any test
/// where the machine does not have the backend.
[[nodiscard]] std::unique_ptr<Backend> backend_under_test(int threads = 2);

}  // namespace ballast
