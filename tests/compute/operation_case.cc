#include "tests/compute/operation_case.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "compute/philox.h"
#include "tests/support/reference_backend.h"
#include "tests/support/reference_elements.h"

namespace ballast {
namespace {

constexpr std::int64_t kGuardBytes = 256;
constexpr std::byte kGuard{0x5A};

/// One tensor in a backend's memory, between guards. Begins `shift` elements behind a multiple of 256 bytes.
class GuardedTensor {
 public:
  GuardedTensor(Backend& backend, DType dtype, const std::vector<double>& values, std::int64_t shift)
      : backend_(backend),
        begin_(kGuardBytes / size_of(dtype) + shift),
        buffer_(backend, begin_ + std::ssize(values) + kGuardBytes / size_of(dtype), dtype),
        image_(static_cast<std::size_t>(buffer_.span().bytes()), kGuard),
        size_(std::ssize(values)) {
    const DeviceSpan host = of_image();
    for (std::int64_t i = 0; i < size_; ++i) store(host, i, values[static_cast<std::size_t>(i)]);
    backend.upload(image_, buffer_.span());
  }

  [[nodiscard]] DeviceSpan span() const { return buffer_.span().subspan(begin_, size_); }

  /// The elements now; fails the test when a guard changed.
  std::vector<double> read(const std::string& name) {
    backend_.download(buffer_.span(), image_);
    backend_.synchronize();
    const DeviceSpan host = of_image();
    const auto* first = static_cast<const std::byte*>(host.data);
    const auto is_guard = [](std::byte byte) { return byte == kGuard; };
    EXPECT_TRUE(std::all_of(static_cast<const std::byte*>(image_.data()), first, is_guard)) << "wrote before " << name;
    EXPECT_TRUE(
        std::all_of(first + host.bytes(), static_cast<const std::byte*>(image_.data()) + image_.size(), is_guard))
        << "wrote behind " << name;
    std::vector<double> values;
    for (std::int64_t i = 0; i < size_; ++i) values.push_back(load(host, i));
    return values;
  }

 private:
  DeviceSpan of_image() {
    return DeviceSpan{image_.data(), buffer_.span().size, buffer_.span().dtype}.subspan(begin_, size_);
  }

  Backend& backend_;
  std::int64_t begin_;
  Buffer buffer_;
  std::vector<std::byte> image_;
  std::int64_t size_;
};

/// Half a unit in the last place of a number near 1, twice over: what one rounding on the way out may cost.
double rounding(DType dtype) { return dtype == DType::kBF16 ? 0x1p-8 : dtype == DType::kF32 ? 0x1p-23 : 0x1p-52; }

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
    return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y) || (std::isnan(x) && std::isnan(y));
  });
}

bool close(double got, double want, DType dtype, Tolerance tolerance) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  const double allowed =
      rounding(dtype) * std::abs(want) + tolerance.relative * (std::abs(want) + tolerance.scale) + 1e-37;
  return std::abs(got - want) <= allowed;
}

void expect_close(const std::string& name, const std::vector<double>& got, const std::vector<double>& want, DType dtype,
                  Tolerance tolerance) {
  ASSERT_EQ(got.size(), want.size()) << name;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_TRUE(close(got[i], want[i], dtype, tolerance))
        << name << "[" << i << "] of " << want.size() << ": " << got[i] << ", the reference has " << want[i];
  }
}

}  // namespace

Tolerance tolerance_of_sum(std::int64_t terms, double size) {
  const auto count = static_cast<double>(std::max<std::int64_t>(terms, 1));
  return {.relative = 8.0 * std::sqrt(count) * 0x1p-24, .scale = count * size};
}

std::vector<double> rounded(DType dtype, std::vector<double> values) {
  std::vector<std::byte> bytes(8);
  const DeviceSpan one{bytes.data(), 1, dtype};
  for (double& value : values) {
    store(one, 0, value);
    value = load(one, 0);
  }
  return values;
}

std::vector<double> random_values(DType dtype, std::int64_t size, std::uint64_t key, double low, double high) {
  std::vector<double> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, key)[0];
    values[i] = low + (high - low) * static_cast<double>(uniform(word));
  }
  return rounded(dtype, std::move(values));
}

int OperationCase::reads(std::string name, DType dtype, const std::vector<double>& values) {
  tensors_.push_back({std::move(name), dtype, rounded(dtype, values), {}, false});
  return static_cast<int>(std::ssize(tensors_)) - 1;
}

int OperationCase::writes(std::string name, DType dtype, std::int64_t size, Tolerance tolerance) {
  return updates(std::move(name), dtype, std::vector<double>(static_cast<std::size_t>(size), kNan), tolerance);
}

int OperationCase::updates(std::string name, DType dtype, const std::vector<double>& values, Tolerance tolerance) {
  tensors_.push_back({std::move(name), dtype, rounded(dtype, values), tolerance, true});
  return static_cast<int>(std::ssize(tensors_)) - 1;
}

bool OperationCase::Outcome::operator==(const Outcome& other) const {
  return same_bits(results, other.results) &&
         std::equal(tensors.begin(), tensors.end(), other.tensors.begin(), other.tensors.end(), same_bits);
}

OperationCase::Outcome OperationCase::run(Backend& backend, const Operation& operation, bool wide,
                                          std::int64_t shift) const {
  std::vector<std::unique_ptr<GuardedTensor>> memory;
  Arguments arguments;
  for (const Tensor& tensor : tensors_) {
    const DType dtype = wide && tensor.dtype != DType::kI32 ? DType::kF64 : tensor.dtype;
    memory.push_back(std::make_unique<GuardedTensor>(backend, dtype, tensor.values, shift));
    arguments.spans.push_back(memory.back()->span());
  }
  operation(backend, arguments);
  Outcome outcome;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    outcome.tensors.push_back(memory[i]->read(tensors_[i].name));
    if (tensors_[i].written) continue;
    EXPECT_TRUE(same_bits(outcome.tensors[i], tensors_[i].values)) << tensors_[i].name << " is only to be read";
  }
  outcome.results = arguments.results;
  return outcome;
}

void OperationCase::compare(const Outcome& got, const Outcome& want) const {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    if (!tensor.written) continue;
    expect_close(tensor.name, got.tensors[i], want.tensors[i], tensor.dtype, tensor.tolerance);
    EXPECT_TRUE(!exact_ || same_bits(got.tensors[i], want.tensors[i])) << tensor.name << ": other bits";
  }
  ASSERT_EQ(got.results.size(), returned_.size());
  for (std::size_t i = 0; i < returned_.size(); ++i) {
    EXPECT_TRUE(close(got.results[i], want.results[i], DType::kF64, returned_[i]))
        << "result " << i << " is " << got.results[i] << ", the reference has " << want.results[i];
  }
}

void OperationCase::check(Backend& tested, const Operation& operation) const {
  ReferenceBackend reference;
  const Outcome want = run(reference, operation, !exact_, 0);
  const Outcome got = run(tested, operation, false, 0);
  compare(got, want);
  EXPECT_TRUE(run(tested, operation, false, 0) == got) << "the same call gave other bits";
  SCOPED_TRACE("spans begin one element later");
  compare(run(tested, operation, false, 1), want);
}

}  // namespace ballast
