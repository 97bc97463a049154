// Convolutions of the CPU backend against loops in double precision, and bit for bit against themselves on other
// numbers of threads.
//
// Axes: B = samples, Y / X = rows / columns, I / O = inputs / outputs, K = kernel edge. Images are BYXC, weights OIKK.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "tests/compute/host_tensor.h"

namespace ballast {
namespace {

struct Tensors {
  HostTensor x, w, y;  ///< and their gradients
  HostTensor dw;       ///< what dw holds before
};

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::int64_t x_size(const ConvShape& s) { return s.samples * s.rows * s.columns * s.inputs; }
std::int64_t w_size(const ConvShape& s) { return s.outputs * s.inputs * s.kernel * s.kernel; }
std::int64_t y_size(const ConvShape& s) { return s.samples * s.out_rows() * s.out_columns() * s.outputs; }

Tensors make_tensors(const ConvShape& s, DType dtype) {
  return {HostTensor::random(x_size(s), dtype, 1), HostTensor::random(w_size(s), dtype, 2),
          HostTensor::random(y_size(s), dtype, 3), HostTensor::random(w_size(s), DType::kF32, 4)};
}

/// Calls visit(x, w, y) with the three positions of every multiplication of the convolution.
void for_each_product(const ConvShape& s, const std::function<void(std::size_t, std::size_t, std::size_t)>& visit) {
  std::int64_t y = 0;
  for (std::int64_t b = 0; b < s.samples; ++b)
    for (std::int64_t row = 0; row < s.out_rows(); ++row)
      for (std::int64_t column = 0; column < s.out_columns(); ++column)
        for (std::int64_t o = 0; o < s.outputs; ++o, ++y)
          for (std::int64_t i = 0; i < s.inputs; ++i)
            for (std::int64_t ky = 0; ky < s.kernel; ++ky)
              for (std::int64_t kx = 0; kx < s.kernel; ++kx) {
                const std::int64_t from_row = row * s.stride + ky - s.pad;
                const std::int64_t from_column = column * s.stride + kx - s.pad;
                if (from_row < 0 || from_row >= s.rows || from_column < 0 || from_column >= s.columns) continue;
                visit(index(((b * s.rows + from_row) * s.columns + from_column) * s.inputs + i),
                      index(((o * s.inputs + i) * s.kernel + ky) * s.kernel + kx), index(y));
              }
}

/// A sum in double precision, and how many products of what size it is made of.
struct Exact {
  double sum = 0.0, size = 0.0, count = 1.0;
  void add(double product) {
    sum += product;
    size += std::abs(product);
    count += 1.0;
  }
};

/// Worst error over its bound: rounding errors of a sum of n products wander like a random walk of steps of 2^-24 of
/// the products; the output's own rounding is half a unit of its last place (2^-9 of it for bf16).
double worst_error(const std::vector<Exact>& exact, const HostTensor& result) {
  double worst = exact.size() == result.values.size() ? 0.0 : 1e9;
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    double bound = 8.0 * std::sqrt(exact[i].count) * 0x1p-24 * exact[i].size;
    if (result.dtype == DType::kBF16) bound += 0x1p-8 * std::abs(exact[i].sum);
    worst = std::max(worst, std::abs(result.values[i] - exact[i].sum) / (bound + 1e-30));
  }
  return worst;
}

enum class Pass { kForward, kBackwardData, kBackwardWeights };

std::vector<Exact> reference(Pass pass, const ConvShape& s, const Tensors& t) {
  std::vector<Exact> exact;
  if (pass == Pass::kForward) {
    exact.resize(t.y.values.size());
    for_each_product(s, [&](auto x, auto w, auto y) { exact[y].add(double{t.x.values[x]} * t.w.values[w]); });
  } else if (pass == Pass::kBackwardData) {
    exact.resize(t.x.values.size());
    for_each_product(s, [&](auto x, auto w, auto y) { exact[x].add(double{t.y.values[y]} * t.w.values[w]); });
  } else {
    exact.resize(t.w.values.size());
    for (std::size_t i = 0; i < exact.size(); ++i) exact[i].add(t.dw.values[i]);
    for_each_product(s, [&](auto x, auto w, auto y) { exact[w].add(double{t.x.values[x]} * t.y.values[y]); });
  }
  return exact;
}

HostTensor run(Pass pass, const ConvShape& s, const Tensors& t, int threads) {
  const auto backend = make_backend({.name = "cpu", .threads = threads});
  const DeviceTensor x(*backend, t.x);
  const DeviceTensor w(*backend, t.w);
  const DeviceTensor y(*backend, t.y);
  const DeviceTensor dw(*backend, t.dw);
  if (pass == Pass::kForward) {
    backend->conv2d(s, x.span(), w.span(), y.span());
    return HostTensor::of_bytes(y.bytes(), t.y.dtype);
  }
  if (pass == Pass::kBackwardData) {
    backend->conv2d_backward_data(s, y.span(), w.span(), x.span());
    return HostTensor::of_bytes(x.bytes(), t.x.dtype);
  }
  backend->conv2d_backward_weights(s, x.span(), y.span(), dw.span());
  return HostTensor::of_bytes(dw.bytes(), DType::kF32);
}

std::string describe(const ConvShape& s, DType dtype) {
  return std::to_string(s.samples) + " samples of " + std::to_string(s.rows) + " x " + std::to_string(s.columns) +
         ", " + std::to_string(s.inputs) + " to " + std::to_string(s.outputs) + " channels, kernel " +
         std::to_string(s.kernel) + ", stride " + std::to_string(s.stride) + ", pad " + std::to_string(s.pad) + ", " +
         name_of(dtype);
}

class ConvolutionOfAnyShape : public testing::TestWithParam<ConvShape> {
 protected:
  static void expect_right_on_any_number_of_threads(Pass pass) {
    const ConvShape& s = GetParam();
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(describe(s, dtype));
      const Tensors tensors = make_tensors(s, dtype);
      const HostTensor result = run(pass, s, tensors, 1);
      EXPECT_LE(worst_error(reference(pass, s, tensors), result), 1.0);
      for (const int threads : {2, 3, 5}) {
        EXPECT_TRUE(run(pass, s, tensors, threads).bytes() == result.bytes())
            << "bits differ on " << threads << " threads";
      }
    }
  }
};

TEST_P(ConvolutionOfAnyShape, ComputesImages) { expect_right_on_any_number_of_threads(Pass::kForward); }

TEST_P(ConvolutionOfAnyShape, ComputesGradientsOfImages) { expect_right_on_any_number_of_threads(Pass::kBackwardData); }

TEST_P(ConvolutionOfAnyShape, AddsGradientsOfWeights) { expect_right_on_any_number_of_threads(Pass::kBackwardWeights); }

INSTANTIATE_TEST_SUITE_P(Shapes, ConvolutionOfAnyShape,
                         testing::Values(ConvShape{1, 1, 1, 1, 1, 1, 1, 0}, ConvShape{2, 5, 7, 1, 6, 5, 1, 2},
                                         ConvShape{3, 9, 8, 3, 16, 3, 1, 1}, ConvShape{5, 11, 11, 5, 7, 3, 2, 1},
                                         ConvShape{4, 14, 14, 6, 16, 5, 1, 0}, ConvShape{7, 8, 8, 16, 32, 1, 2, 0},
                                         ConvShape{3, 12, 12, 33, 17, 3, 1, 1}, ConvShape{2, 6, 6, 48, 64, 1, 1, 0}));

// Large enough to be cut into blocks; the last of 13, 33 and 50 samples is shorter.
INSTANTIATE_TEST_SUITE_P(Blocks, ConvolutionOfAnyShape,
                         testing::Values(ConvShape{16, 32, 32, 3, 16, 3, 1, 1}, ConvShape{13, 32, 32, 16, 16, 3, 1, 1},
                                         ConvShape{33, 16, 16, 16, 32, 3, 2, 1}, ConvShape{50, 28, 28, 1, 32, 3, 1, 1},
                                         ConvShape{8, 32, 32, 16, 16, 3, 1, 1}));

TEST(Convolution, RefusesTensorsThatDoNotFit) {
  const auto backend = make_backend({.name = "cpu", .threads = 1});
  const ConvShape s{2, 5, 5, 3, 4, 3, 1, 1};
  const Tensors t = make_tensors(s, DType::kF32);
  const DeviceTensor x(*backend, t.x);
  const DeviceTensor w(*backend, t.w);
  const DeviceTensor y(*backend, t.y);
  EXPECT_THROW(backend->conv2d(s, x.span(), w.span(), y.span().subspan(0, 5)), Error);
  EXPECT_THROW(backend->conv2d(s, x.span(), w.span().subspan(1, 7), y.span()), Error);
  EXPECT_THROW(backend->conv2d({2, 5, 5, 3, 4, 9, 1, 1}, x.span(), w.span(), y.span()), Error);
}

}  // namespace
}  // namespace ballast
