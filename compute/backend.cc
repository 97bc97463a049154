#include "compute/backend.h"

#include <utility>

namespace ballast {

void Backend::matmul_gelu(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                          DeviceSpan x, DeviceSpan y) {
  require(!shape.accumulate, "matmul_gelu: the product cannot accumulate");
  const DeviceSpan product = x.empty() ? y : x;
  matmul(shape, a, b, bias, product);
  gelu(product, y);
}

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

}  // namespace ballast
