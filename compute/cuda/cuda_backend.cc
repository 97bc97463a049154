#include "compute/cuda/cuda_backend.h"

#include "compute/cuda/check.h"
#include "compute/cuda/find_devices.h"

namespace ballast::cuda {

CudaBackend::CudaBackend(const BackendOptions& options)
    : queue_(options.device), matmul_(options.device, options.tf32) {}

CudaBackend::~CudaBackend() {
  // Memory goes before the queue does: nothing may be using it. There is nobody left to tell of an error.
  (void)cudaStreamSynchronize(queue_.stream());
}

std::string CudaBackend::name() const { return "cuda"; }

std::string CudaBackend::description() const {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, queue_.device()));
  return std::string("cuda: ") + properties.name + ", " + std::to_string(queue_.processors()) + " processors, CUDA " +
         toolkit_version() + ", " + library_version() + cudnn_.version();
}

int CudaBackend::threads() const { return 1; }

void* CudaBackend::allocate(std::int64_t bytes) {
  (void)queue_.begin("allocate").uncaptured_stream();  // memory cannot be taken in a capture
  return memory_.allocate(bytes);
}

void CudaBackend::release(void* memory) noexcept { memory_.release(memory); }

void CudaBackend::upload(std::span<const std::byte> host, DeviceSpan device) {
  require(static_cast<std::int64_t>(host.size()) == device.bytes(), "upload: host and device memory differ in size");
  queue_.begin("upload", {device}).upload(host, device.data);
}

void CudaBackend::download(ConstDeviceSpan device, std::span<std::byte> host) {
  require(static_cast<std::int64_t>(host.size()) == device.bytes(), "download: host and device memory differ in size");
  queue_.begin("download").download(device.data, host);
}

void CudaBackend::zero(DeviceSpan x) {
  if (x.empty()) return;
  queue_.begin("zero", {x});
  check(cudaMemsetAsync(x.data, 0, static_cast<std::size_t>(x.bytes()), queue_.stream()));
}

void CudaBackend::synchronize() { queue_.synchronize(); }

void CudaBackend::together(std::uint64_t key, const std::function<void()>& operations) {
  queue_.together(key, operations);
}

void CudaBackend::matmul(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                         DeviceSpan c) {
  matmul_.run(queue_.begin("matmul", {c}), shape, a, b, bias, c);
}

void CudaBackend::matmul_gelu(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                              DeviceSpan x, DeviceSpan y) {
  const bool done = matmul_.run_gelu(queue_.begin("matmul_gelu", {x, y}), shape, a, b, bias, x, y);
  if (!done) Backend::matmul_gelu(shape, a, b, bias, x, y);
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  require_device(options.device);
  return std::make_unique<CudaBackend>(options);
}

}  // namespace ballast::cuda
