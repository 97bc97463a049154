#include "compute/cuda/queue.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "compute/cuda/check.h"

namespace ballast::cuda {

namespace {

constexpr std::size_t kRemembered = 8;  // operations that a message names

int attribute_of(int device, cudaDeviceAttr attribute) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

/// `device`, made the one that this thread's calls mean.
int selected(int device) {
  check(cudaSetDevice(device));
  return device;
}

}  // namespace

Queue::Queue(int device)
    : device_(selected(device)),
      processors_(attribute_of(device, cudaDevAttrMultiProcessorCount)),
      stream_(make_stream()) {}

Queue& Queue::begin(const char* operation, std::initializer_list<DeviceSpan> written) {
  selected(device_);  // of this thread: another one may have made the backend
  if (operations_.size() == kRemembered) operations_.erase(operations_.begin());
  operations_.push_back(operation);
  for (const DeviceSpan& memory : written) downloads_.order_before_write(memory, stream());
  return *this;
}

void* Queue::scratch(std::int64_t bytes) {
  if (bytes > scratch_bytes_) {
    // Freeing waits for the kernels that use the old memory. Sizes follow from shapes, so this ends with the first
    // step.
    scratch_ = {};
    scratch_bytes_ = 0;
    scratch_ = make_device_memory(static_cast<std::size_t>(bytes));
    scratch_bytes_ = bytes;
  }
  return scratch_.get();
}

void Queue::download(const void* device, std::span<std::byte> host) { downloads_.copy(device, host, stream()); }

void Queue::return_later(const void* device, std::size_t bytes, std::function<void(const std::byte*)> use) {
  const std::span<std::byte> host = return_area_.take(bytes);
  check(cudaMemcpyAsync(host.data(), device, bytes, cudaMemcpyDeviceToHost, stream()));
  returned_.push_back({host.data(), std::move(use)});
}

std::string Queue::recent_operations() const {
  std::string text;
  for (const char* operation : operations_) text += (text.empty() ? "" : ", ") + std::string(operation);
  return text.empty() ? "none" : text;
}

void Queue::synchronize() {
  selected(device_);
  try {
    check(cudaStreamSynchronize(stream()));
    downloads_.wait();
  } catch (const Error& error) {
    returned_.clear();  // their results never came, and their owners may be gone by the next call
    throw Error(std::string(error.what()) + "; the last operations were: " + recent_operations() +
                    ". With CUDA_LAUNCH_BLOCKING=1 in the environment the one that failed is the last",
                ExitCode::kInternal, error.where());
  }
  operations_.clear();
  use_returned();
}

void Queue::use_returned() {
  const std::vector<Returned> returned = std::exchange(returned_, {});
  std::exception_ptr first;
  for (const auto& [bytes, use] : returned) {
    try {
      use(bytes);
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  return_area_.clear();
  if (first) std::rethrow_exception(first);
}

}  // namespace ballast::cuda
