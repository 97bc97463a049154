// Defines: use_one_library_thread.
#pragma once

namespace ballast {

/// From now on oneDNN and OpenBLAS run on the calling thread alone when it calls them. OpenMP keeps this number per
/// thread, so every thread that calls a library, or builds a oneDNN primitive (which plans for a number of threads),
/// calls this first.
void use_one_library_thread();

}  // namespace ballast
