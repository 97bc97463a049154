// Which processors run bf16_gemm_avx512.cc and bf16_rows_avx512.cc; itself compiled for any.
#include <oneapi/dnnl/dnnl.hpp>

#include "compute/cpu/bf16_gemm.h"

namespace ballast {

bool has_bf16_kernels() {
  // oneDNN's instruction sets are bit sets, and its view heeds ONEDNN_MAX_CPU_ISA.
  static const auto machine = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto has = [](dnnl::cpu_isa isa) {
    return (machine & static_cast<unsigned>(isa)) == static_cast<unsigned>(isa);
  };
  return has(dnnl::cpu_isa::avx512_core_bf16) && !has(dnnl::cpu_isa::avx512_core_amx);
}

}  // namespace ballast
