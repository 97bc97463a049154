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
      stream_(make_stream()),
      graphs_(stream_.get()) {}

cudaStream_t Queue::stream() {
  graphs_.capture();
  return stream_.get();
}

cudaStream_t Queue::uncaptured_stream() {
  try {
    graphs_.launch();
  } catch (const Error& error) {
    returned_.clear();  // their copies may be among what was captured
    throw named(error);
  }
  return stream_.get();
}

void Queue::together(std::uint64_t key, const std::function<void()>& operations) {
  selected(device_);
  graphs_.begin_run(key);
  try {
    operations();
    (void)uncaptured_stream();
  } catch (...) {
    // The operations before the one that failed run, as they do outside of graphs: return_later() counts on it.
    try {
      (void)uncaptured_stream();
    } catch (const Error&) {  // the first error is the one to tell
    }
    graphs_.end_run();
    throw;
  }
  graphs_.end_run();
}

Queue& Queue::begin(const char* operation, std::initializer_list<DeviceSpan> written) {
  selected(device_);  // of this thread: another one may have made the backend
  if (operations_.size() == kRemembered) operations_.erase(operations_.begin());
  operations_.push_back(operation);
  if (graphs_.full()) (void)uncaptured_stream();
  for (const DeviceSpan& memory : written) {
    if (downloads_.reads(memory)) downloads_.order_before_write(uncaptured_stream());
  }
  return *this;
}

void* Queue::scratch(std::int64_t bytes) {
  if (bytes > scratch_bytes_) {
    // Freeing waits for the kernels that use the old memory, once they are on the stream. Sizes follow from shapes, so
    // this ends with the first step.
    (void)uncaptured_stream();
    scratch_ = {};
    scratch_bytes_ = 0;
    scratch_ = make_device_memory(static_cast<std::size_t>(bytes));
    scratch_bytes_ = bytes;
  }
  return scratch_.get();
}

void Queue::download(const void* device, std::span<std::byte> host) {
  downloads_.copy(device, host, uncaptured_stream());
}

void Queue::return_later(const void* device, std::size_t bytes, std::function<void(const std::byte*)> use) {
  if (!return_area_.has_room(bytes)) (void)uncaptured_stream();  // pinned memory cannot be taken in a capture
  const std::span<std::byte> host = return_area_.take(bytes);
  check(cudaMemcpyAsync(host.data(), device, bytes, cudaMemcpyDeviceToHost, stream()));
  returned_.push_back({host.data(), std::move(use)});
}

Error Queue::named(const Error& error) const {
  std::string names;
  for (const char* operation : operations_) names += (names.empty() ? "" : ", ") + std::string(operation);
  return Error(std::string(error.what()) + "; the last operations were: " + (names.empty() ? "none" : names) +
                   ". With CUDA_LAUNCH_BLOCKING=1 in the environment the one that failed is the last",
               ExitCode::kInternal, error.where());
}

void Queue::synchronize() {
  selected(device_);
  const cudaStream_t stream = uncaptured_stream();
  try {
    check(cudaStreamSynchronize(stream));
    downloads_.wait();
  } catch (const Error& error) {
    returned_.clear();  // their results never came, and their owners may be gone by the next call
    throw named(error);
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
