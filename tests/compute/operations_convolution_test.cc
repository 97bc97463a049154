// Convolutions and pooling on any backend.
//
// Axes: B = samples, Y / X = rows / columns, I / O = inputs / outputs, K = kernel edge. Images are BYXC, weights OIKK.
#include "tests/compute/operation_case.h"

namespace ballast {
namespace {

std::int64_t x_size(const ConvShape& s) { return s.samples * s.rows * s.columns * s.inputs; }
std::int64_t w_size(const ConvShape& s) { return s.outputs * s.inputs * s.kernel * s.kernel; }
std::int64_t y_size(const ConvShape& s) { return s.samples * s.out_rows() * s.out_columns() * s.outputs; }

std::vector<double> random_unit(DType dtype, std::int64_t size, std::uint64_t key) {
  return random_values(dtype, size, key, -1.0, 1.0);
}

class OperationsConvolution : public testing::TestWithParam<ConvShape> {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();
};

TEST_P(OperationsConvolution, ComputesImages) {
  const ConvShape& s = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    SCOPED_TRACE(name_of(dtype));
    OperationCase c;
    const int x = c.reads("x", dtype, random_unit(dtype, x_size(s), 1));
    const int w = c.reads("w", dtype, random_unit(dtype, w_size(s), 2));
    const int y = c.writes("y", dtype, y_size(s), tolerance_of_sum(s.inputs * s.kernel * s.kernel, 0.25));
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.conv2d(s, t[x], t[w], t[y]); });
  }
}

TEST_P(OperationsConvolution, ComputesGradientsOfImages) {
  const ConvShape& s = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    SCOPED_TRACE(name_of(dtype));
    OperationCase c;
    const int dy = c.reads("dy", dtype, random_unit(dtype, y_size(s), 3));
    const int w = c.reads("w", dtype, random_unit(dtype, w_size(s), 2));
    const int dx = c.writes("dx", dtype, x_size(s), tolerance_of_sum(s.outputs * s.kernel * s.kernel, 0.25));
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.conv2d_backward_data(s, t[dy], t[w], t[dx]); });
  }
}

TEST_P(OperationsConvolution, AddsGradientsOfWeights) {
  const ConvShape& s = GetParam();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    SCOPED_TRACE(name_of(dtype));
    OperationCase c;
    const int x = c.reads("x", dtype, random_unit(dtype, x_size(s), 1));
    const int dy = c.reads("dy", dtype, random_unit(dtype, y_size(s), 3));
    const int dw = c.updates("dw", DType::kF32, random_unit(DType::kF32, w_size(s), 4),
                             tolerance_of_sum(s.samples * s.out_rows() * s.out_columns() + 1, 0.25));
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.conv2d_backward_weights(s, t[x], t[dy], t[dw]); });
  }
}

// The last has more pixels than the tiles of any backend, and odd remainders everywhere.
INSTANTIATE_TEST_SUITE_P(Shapes, OperationsConvolution,
                         testing::Values(ConvShape{1, 1, 1, 1, 1, 1, 1, 0}, ConvShape{2, 5, 7, 1, 6, 5, 1, 2},
                                         ConvShape{3, 9, 8, 3, 16, 3, 1, 1}, ConvShape{5, 11, 11, 5, 7, 3, 2, 1},
                                         ConvShape{2, 8, 8, 6, 16, 5, 1, 0}, ConvShape{3, 8, 8, 16, 32, 1, 2, 0},
                                         ConvShape{1, 7, 6, 33, 17, 3, 1, 1}, ConvShape{7, 13, 11, 8, 9, 3, 1, 1},
                                         // Channels that come in vectors, over several tiles and pieces of sums.
                                         ConvShape{4, 12, 11, 8, 72, 3, 1, 1}, ConvShape{2, 9, 10, 24, 8, 3, 2, 1}));

BALLAST_BOTH_TYPES(OperationsPooling);

TEST_P(OperationsPooling, TakesTheMeanOverPixelsAndSpreadsItsGradientEvenly) {
  struct Image {
    std::int64_t samples, pixels, channels;
  };
  for (const Image& image :
       {Image{0, 4, 3}, {1, 1, 1}, {2, 64, 5}, {3, 49, 64}, {40, 16, 33}, {2, 257, 7}, {1, 4, 515}}) {
    const std::int64_t small = image.samples * image.channels;
    OperationCase c;
    const int x = c.reads("x", GetParam(), random_values(GetParam(), small * image.pixels, 5));
    const int dy = c.reads("dy", GetParam(), random_values(GetParam(), small, 6));
    const int y = c.writes("y", GetParam(), small, {.relative = 1e-6, .scale = 1.0});
    const int dx = c.writes("dx", GetParam(), small * image.pixels, {.relative = 2e-7});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.average_pool(image.samples, image.pixels, t[x], t[y]);
      on.average_pool_backward(image.samples, image.pixels, t[dy], t[dx]);
    });
  }
}

}  // namespace
}  // namespace ballast
