#include "compute/cpu/library_threads.h"

#include <cblas.h>
#include <omp.h>

namespace ballast {

void use_one_library_thread() {
  // OpenBLAS's own number is one for the process and is not safe to set twice at once; a static's initialiser runs
  // once.
  static const bool blas_is_set = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  if (blas_is_set && omp_get_max_threads() != 1) omp_set_num_threads(1);
}

}  // namespace ballast
