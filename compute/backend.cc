#include "compute/backend.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>
#include <vector>

#include "compute/cpu/cpu_backend.h"

namespace ballast {

void Backend::ordered_sum_and_squares(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                      DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares) {
  ordered_sum(addends, tree, sum);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    squares[i] = sum_of_squares(sum.subspan(parts[i].begin, parts[i].end - parts[i].begin));
  }
}

void Backend::update_parts(const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                           std::span<UpdateSums> sums) {
  UpdateRule with_sums = rule;
  with_sums.want_sums = true;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t begin = parts[i].begin;
    const std::int64_t size = parts[i].end - begin;
    UpdateRun part{run.value.subspan(begin, size), {}, run.gradient.subspan(begin, size), {}};
    if (!run.compute.empty()) part.compute = run.compute.subspan(begin, size);
    for (std::size_t s = 0; s < run.state.size(); ++s) {
      if (!run.state[s].empty()) part.state[s] = run.state[s].subspan(begin, size);
    }
    sums[i] = update(with_sums, part);
  }
}

Buffer::Buffer(Backend& backend, std::int64_t elements, DType dtype) : backend_(&backend) {
  span_ = {backend.allocate(Shape{elements, size_of(dtype)}.elements()), elements, dtype};
}

Buffer::Buffer(Buffer&& other) noexcept
    : backend_(std::exchange(other.backend_, nullptr)), span_(std::exchange(other.span_, {})) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(backend_, other.backend_);
  std::swap(span_, other.span_);
  return *this;
}

Buffer::~Buffer() {
  if (backend_ != nullptr) backend_->release(span_.data);
}

int available_cores() {
  // cpu_set_t holds 1024 cores; a larger machine refuses it with EINVAL, so the set grows until the kernel is content.
  for (std::size_t sets = 1; sets <= 64; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const std::size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) return std::max(1, CPU_COUNT_S(bytes, mask.data()));
    if (errno != EINVAL) break;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.threads < 0) {
    throw ConfigError("compute.threads is " + std::to_string(options.threads) +
                      ": use 0 (one thread per core) or a positive number");
  }
  if (options.name == "cuda") {
    throw ConfigError("compute.backend = \"cuda\": this build has no CUDA backend; use \"cpu\" or \"auto\"");
  }
  if (options.name != "auto" && options.name != "cpu") {
    throw ConfigError("compute.backend = \"" + options.name + "\" is unknown: use \"auto\", \"cpu\" or \"cuda\"");
  }
  return std::make_unique<CpuBackend>(options.threads > 0 ? options.threads : available_cores());
}

}  // namespace ballast
