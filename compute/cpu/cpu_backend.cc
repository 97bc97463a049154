#include "compute/cpu/cpu_backend.h"

#include <cblas.h>

#include <array>
#include <cstring>

#include "compute/cpu/aligned_memory.h"
#include "compute/cpu/kernels.h"
#include "compute/error.h"

namespace ballast {

namespace {

constexpr std::int64_t kCopyGrain = std::int64_t{1} << 20;  ///< bytes one task copies

void copy(ThreadPool& pool, const void* from, void* to, std::int64_t bytes) {
  pool.run_ranges(bytes, kCopyGrain, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                static_cast<std::size_t>(end - begin));
  });
}

/// oneDNN's instruction sets are bit sets: the first of these that is within the machine's names what matrix products
/// use.
const char* instruction_set() {
  using Isa = dnnl::cpu_isa;
  struct Named {
    Isa isa;
    const char* name;
  };
  constexpr std::array<Named, 7> kNamed = {{{Isa::avx512_core_amx, "avx512_amx"},
                                            {Isa::avx512_core_bf16, "avx512_bf16"},
                                            {Isa::avx512_core_vnni, "avx512_vnni"},
                                            {Isa::avx512_core, "avx512"},
                                            {Isa::avx2, "avx2"},
                                            {Isa::avx, "avx"},
                                            {Isa::sse41, "sse41"}}};
  const auto machine = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  for (const auto& [isa, name] : kNamed) {
    const auto bits = static_cast<unsigned>(isa);
    if ((machine & bits) == bits) return name;
  }
  return "portable";
}

}  // namespace

std::string CpuBackend::name() const { return "cpu"; }

std::string CpuBackend::description() const {
  const std::string threads = std::to_string(pool_.threads()) + (pool_.threads() == 1 ? " thread, " : " threads, ");
  return "cpu: " + threads + instruction_set() + " (kernels " + vector_target() + "), " + onednn_version() +
         ", OpenBLAS for " + openblas_get_corename();
}

int CpuBackend::threads() const { return pool_.threads(); }

void* CpuBackend::allocate(std::int64_t bytes) { return allocate_aligned(bytes); }

void CpuBackend::release(void* memory) noexcept { release_aligned(memory); }

void CpuBackend::upload(std::span<const std::byte> host, DeviceSpan device) {
  require(static_cast<std::int64_t>(host.size()) == device.bytes(), "upload: host and device memory differ in size");
  copy(pool_, host.data(), device.data, device.bytes());
}

void CpuBackend::download(ConstDeviceSpan device, std::span<std::byte> host) {
  require(static_cast<std::int64_t>(host.size()) == device.bytes(), "download: host and device memory differ in size");
  copy(pool_, device.data, host.data(), device.bytes());
}

void CpuBackend::zero(DeviceSpan x) { ballast::zero(pool_, x); }

void CpuBackend::synchronize() {}  // every call has waited for its work

void CpuBackend::matmul(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                        DeviceSpan c) {
  matmul_.run(shape, a, b, bias, c);
}

void CpuBackend::conv2d(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  convolution_.forward(shape, x, w, y);
}

void CpuBackend::conv2d_backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx) {
  convolution_.backward_data(shape, dy, w, dx);
}

void CpuBackend::conv2d_backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dw) {
  convolution_.backward_weights(shape, x, dy, dw);
}

}  // namespace ballast
