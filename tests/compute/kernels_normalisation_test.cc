#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

using BatchNorm = KernelTest;
using LayerNorm = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, BatchNorm, testing::Values(DType::kF32, DType::kBF16), type_name);
INSTANTIATE_TEST_SUITE_P(Types, LayerNorm, testing::Values(DType::kF32, DType::kBF16), type_name);

constexpr double kEpsilon = 1e-5;

struct Size {
  std::int64_t rows, columns;
};

/// Mean and 1 / sqrt(var + epsilon) in f64 of `count` elements of x from `first`, `stride` apart.
struct Moments {
  double mean = 0.0, var = 0.0, inv_std = 0.0;
  Moments(const Tensor& x, std::int64_t first, std::int64_t count, std::int64_t stride) {
    const auto n = static_cast<double>(count);
    for (std::int64_t i = 0; i < count; ++i) mean += x.at(first + i * stride) / n;
    for (std::int64_t i = 0; i < count; ++i) var += std::pow(x.at(first + i * stride) - mean, 2) / n;
    inv_std = 1.0 / std::sqrt(var + kEpsilon);
  }
};

/// Inputs and outputs of one normalisation of x_RC with `groups` statistics.
struct Case {
  std::int64_t rows, columns;
  Tensor x, gamma, beta, y, mean, inv_std, var, dy, dx, dgamma, dbeta;
  Case(DType dtype, Size size, std::int64_t groups)
      : rows(size.rows),
        columns(size.columns),
        x(random_tensor(dtype, rows * columns, 1, 2.0, 4.0)),
        gamma(random_tensor(DType::kF32, columns, 2)),
        beta(random_tensor(DType::kF32, columns, 3)),
        y(dtype, rows * columns),
        mean(DType::kF32, groups),
        inv_std(DType::kF32, groups),
        var(DType::kF32, groups),
        dy(random_tensor(dtype, rows * columns, 4)),
        dx(random_tensor(dtype, rows * columns, 5)),
        dgamma(random_tensor(DType::kF32, columns, 6)),
        dbeta(random_tensor(DType::kF32, columns, 7)) {}

  /// What the backward of batch norm reads and writes, with the gradient of x in `to`.
  BatchNormGradients gradients(Tensor& to) {
    return {.x = x.span(),
            .y = {},
            .dy = dy.span(),
            .gamma = gamma.span(),
            .beta = beta.span(),
            .mean = mean.span(),
            .inv_std = inv_std.span(),
            .dx = to.span(),
            .dskip = {},
            .dgamma = dgamma.span(),
            .dbeta = dbeta.span()};
  }
};

/// dx of (x - mean) inv_std gamma + beta over one group of elements whose statistics are its own; n = their number.
double backward_reference(double g, double xhat, double mean_g, double mean_gx, double inv_std) {
  return inv_std * (g - mean_g - xhat * mean_gx);
}

const std::vector<Size> kBatches = {{1, 1}, {2, 3}, {5, 16}, {33, 17}, {1024, 10}, {1500, 64}, {700, 130}};

TEST_P(BatchNorm, NormalisesEveryChannelOverTheRows) {
  for (const Size& size : kBatches) {
    Case c(GetParam(), size, size.columns);
    batch_norm(pool, {.rows = c.rows}, c.x.span(), {}, c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(),
               c.inv_std.span(), c.var.span());
    std::vector<double> y(static_cast<std::size_t>(c.x.size())), mean, inv_std, var;
    for (std::int64_t k = 0; k < c.columns; ++k) {
      const Moments m(c.x, k, c.rows, c.columns);
      mean.push_back(m.mean);
      inv_std.push_back(m.inv_std);
      var.push_back(m.var);
      for (std::int64_t i = k; i < c.x.size(); i += c.columns) {
        y[i] = (c.x.at(i) - m.mean) * m.inv_std * c.gamma.at(k) + c.beta.at(k);
      }
    }
    expect_close(c.mean, mean, DType::kF32, 1e-6);
    expect_close(c.var, var, DType::kF32, 1e-5, 1e-7);
    expect_close(c.inv_std, inv_std, DType::kF32, c.rows == 1 ? 1e-2 : 1e-5);
    expect_close(c.y, y, GetParam(), 1e-5, 1.0);
  }
}

TEST_P(BatchNorm, KeepsAVarianceThatIsSmallBesideTheMean) {
  Tensor x(DType::kF32, 4096);
  for (std::int64_t i = 0; i < 4096; ++i) x.set(i, 10000.0 + static_cast<double>(i % 2));
  Case c(DType::kF32, {4096, 1}, 1);
  batch_norm(pool, {.rows = 4096}, x.span(), {}, c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(),
             c.inv_std.span(), c.var.span());
  EXPECT_NEAR(c.mean.at(0), 10000.5, 1e-3);
  EXPECT_NEAR(c.var.at(0), 0.25, 1e-3);
}

TEST_P(BatchNorm, InferenceUsesTheGivenStatistics) {
  for (const Size& size : kBatches) {
    Case c(GetParam(), size, size.columns);
    Tensor mean = random_tensor(DType::kF32, c.columns, 8);
    Tensor var = random_tensor(DType::kF32, c.columns, 9, 0.5, 2.0);
    batch_norm_inference(pool, {.rows = c.rows}, c.x.span(), {}, c.gamma.span(), c.beta.span(), mean.span(), var.span(),
                         c.y.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < c.x.size(); ++i) {
      const std::int64_t k = i % c.columns;
      expected.push_back((c.x.at(i) - mean.at(k)) / std::sqrt(var.at(k) + kEpsilon) * c.gamma.at(k) + c.beta.at(k));
    }
    expect_close(c.y, expected, GetParam(), 1e-6, 2.0);
  }
}

TEST_P(BatchNorm, AddsASkipAndEndsInARelu) {
  for (const Size& size : kBatches) {
    for (const bool add : {false, true}) {
      Case c(GetParam(), size, size.columns);
      Tensor skip = random_tensor(GetParam(), c.x.size(), 8);
      const ConstDeviceSpan added = add ? skip.span() : DeviceSpan();
      const BatchNormShape shape{.rows = c.rows, .relu = true, .skip = add};
      batch_norm(pool, shape, c.x.span(), added, c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(),
                 c.inv_std.span(), c.var.span());
      std::vector<double> expected;
      for (std::int64_t i = 0; i < c.x.size(); ++i) {
        const std::int64_t k = i % c.columns;
        const double z = (c.x.at(i) - c.mean.at(k)) * c.inv_std.at(k) * c.gamma.at(k) + c.beta.at(k);
        expected.push_back(std::max(0.0, z + (add ? skip.at(i) : 0.0)));
      }
      expect_close(c.y, expected, GetParam(), 1e-5, 1.0);
      Tensor given = c.y;
      batch_norm_inference(pool, shape, c.x.span(), added, c.gamma.span(), c.beta.span(), c.mean.span(), c.var.span(),
                           given.span());
      expect_close(given, expected, GetParam(), 1e-5, 1.0);
    }
  }
}

/// dx, and dgamma and dbeta after they are added to, in f64, for the gradient `g` of what stands before a relu. Fills
/// the statistics of the case.
struct BatchNormReference {
  std::vector<double> dx, dgamma, dbeta;
  BatchNormReference(Case& c, const std::vector<double>& g) : dx(g.size()) {
    for (std::int64_t k = 0; k < c.columns; ++k) {
      const Moments m(c.x, k, c.rows, c.columns);
      c.mean.set(k, m.mean);
      c.inv_std.set(k, m.inv_std);
      double sum = 0.0;
      double sum_xhat = 0.0;
      for (std::int64_t i = k; i < c.x.size(); i += c.columns) {
        sum += g[i];
        sum_xhat += g[i] * (c.x.at(i) - m.mean) * m.inv_std;
      }
      const auto n = static_cast<double>(c.rows);
      for (std::int64_t i = k; i < c.x.size(); i += c.columns) {
        const double xhat = (c.x.at(i) - m.mean) * m.inv_std;
        dx[i] = c.gamma.at(k) * backward_reference(g[i], xhat, sum / n, sum_xhat / n, m.inv_std);
      }
      dgamma.push_back(c.dgamma.at(k) + sum_xhat);
      dbeta.push_back(c.dbeta.at(k) + sum);
    }
  }
  void compare(DType dtype, const Case& c) const {
    const double scale = std::sqrt(static_cast<double>(c.rows));
    expect_close(c.dx, dx, dtype, 5e-6, c.rows < 3 ? 100.0 : 5.0);
    expect_close(c.dgamma, dgamma, DType::kF32, 2e-6, 2.0 * scale);
    expect_close(c.dbeta, dbeta, DType::kF32, 2e-6, scale);
  }
};

TEST_P(BatchNorm, BackwardIsTheDerivativeAndAddsToTheParameters) {
  for (const Size& size : kBatches) {
    for (const BatchNormShape tail : {BatchNormShape{}, {.relu = true}, {.relu = true, .skip = true}}) {
      const BatchNormShape shape{.rows = size.rows, .relu = tail.relu, .skip = tail.skip};
      Case c(GetParam(), size, size.columns);
      Tensor skip = random_tensor(GetParam(), c.x.size(), 8);
      const ConstDeviceSpan added = shape.skip ? skip.span() : DeviceSpan();
      batch_norm(pool, shape, c.x.span(), added, c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(),
                 c.inv_std.span(), c.var.span());
      std::vector<double> g;
      for (std::int64_t i = 0; i < c.x.size(); ++i) g.push_back(!shape.relu || c.y.at(i) > 0.0 ? c.dy.at(i) : 0.0);
      const BatchNormReference expected(c, g);
      Tensor dskip(GetParam(), c.x.size());
      BatchNormGradients tensors = c.gradients(c.dx);
      tensors.y = c.y.span();
      tensors.dskip = shape.skip ? dskip.span() : DeviceSpan();
      batch_norm_backward(pool, shape, tensors);
      expected.compare(GetParam(), c);
      if (shape.skip) expect_close(dskip, g, GetParam(), 0.0);
      tensors.dskip = {};
      tensors.dx = c.dy.span();
      batch_norm_backward(pool, shape, tensors);
      EXPECT_EQ(c.dy.bytes(), c.dx.bytes()) << "in place, where nobody wants the gradient of the skip";
    }
  }
}

TEST_P(BatchNorm, GivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    Case c(GetParam(), {3001, 33}, 33);
    batch_norm(threads, {.rows = c.rows}, c.x.span(), {}, c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(),
               c.inv_std.span(), c.var.span());
    batch_norm_backward(threads, {.rows = c.rows}, c.gradients(c.dx));
    return Outputs{c.y.bytes(),  c.mean.bytes(),   c.inv_std.bytes(), c.var.bytes(),
                   c.dx.bytes(), c.dgamma.bytes(), c.dbeta.bytes()};
  });
}

TEST_P(BatchNorm, RefusesNoRows) {
  Case c(GetParam(), {0, 4}, 4);
  EXPECT_THROW(batch_norm(pool, {.rows = 0}, c.x.span(), {}, c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(),
                          c.inv_std.span(), c.var.span()),
               Error);
}

const std::vector<Size> kRows = {{0, 8},  {1, 1},   {1, 2},     {3, 7},     {5, 16},
                                 {2, 63}, {33, 65}, {100, 768}, {300, 129}, {2, 5000}};

TEST_P(LayerNorm, NormalisesEveryRow) {
  for (const Size& size : kRows) {
    Case c(GetParam(), size, size.rows);
    layer_norm(pool, c.rows, c.x.span(), c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(), c.inv_std.span());
    std::vector<double> y, mean, inv_std;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const Moments m(c.x, r * c.columns, c.columns, 1);
      mean.push_back(m.mean);
      inv_std.push_back(m.inv_std);
      for (std::int64_t k = 0; k < c.columns; ++k) {
        y.push_back((c.x.at(r * c.columns + k) - m.mean) * m.inv_std * c.gamma.at(k) + c.beta.at(k));
      }
    }
    expect_close(c.mean, mean, DType::kF32, 1e-6);
    expect_close(c.inv_std, inv_std, DType::kF32, 1e-5);
    expect_close(c.y, y, GetParam(), 1e-5, 1.0);
    layer_norm(pool, c.rows, c.x.span(), c.gamma.span(), c.beta.span(), c.x.span(), c.mean.span(), c.inv_std.span());
    EXPECT_EQ(c.x.bytes(), c.y.bytes()) << "in place";
  }
}

/// dx, and what is added to dgamma and dbeta, in f64. Fills the statistics of the case.
struct LayerNormGradients {
  std::vector<double> dx, dgamma, dbeta;
  explicit LayerNormGradients(Case& c) {
    for (std::int64_t k = 0; k < c.columns; ++k) {
      dgamma.push_back(c.dgamma.at(k));
      dbeta.push_back(c.dbeta.at(k));
    }
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const Moments m(c.x, r * c.columns, c.columns, 1);
      c.mean.set(r, m.mean);
      c.inv_std.set(r, m.inv_std);
      add_row(c, r, m);
    }
  }
  void add_row(const Case& c, std::int64_t r, const Moments& m) {
    const auto n = static_cast<double>(c.columns);
    const auto xhat = [&](std::int64_t k) { return (c.x.at(r * c.columns + k) - m.mean) * m.inv_std; };
    const auto g = [&](std::int64_t k) { return c.dy.at(r * c.columns + k) * c.gamma.at(k); };
    double mean_g = 0.0;
    double mean_gx = 0.0;
    for (std::int64_t k = 0; k < c.columns; ++k) {
      mean_g += g(k) / n;
      mean_gx += g(k) * xhat(k) / n;
      dgamma[k] += c.dy.at(r * c.columns + k) * xhat(k);
      dbeta[k] += c.dy.at(r * c.columns + k);
    }
    for (std::int64_t k = 0; k < c.columns; ++k) {
      dx.push_back(backward_reference(g(k), xhat(k), mean_g, mean_gx, m.inv_std));
    }
  }
};

TEST_P(LayerNorm, BackwardIsTheDerivativeAndAddsToTheParameters) {
  for (const Size& size : kRows) {
    Case c(GetParam(), size, size.rows);
    const LayerNormGradients expected(c);
    layer_norm_backward(pool, c.rows, c.x.span(), c.dy.span(), c.gamma.span(), c.mean.span(), c.inv_std.span(), false,
                        c.dx.span(), c.dgamma.span(), c.dbeta.span());
    expect_close(c.dx, expected.dx, GetParam(), 1e-5, c.columns < 3 ? 100.0 : 5.0);
    expect_close(c.dgamma, expected.dgamma, DType::kF32, 3e-6, 10.0 + std::sqrt(static_cast<double>(c.rows)));
    expect_close(c.dbeta, expected.dbeta, DType::kF32, 2e-6, 10.0);
    layer_norm_backward(pool, c.rows, c.x.span(), c.dy.span(), c.gamma.span(), c.mean.span(), c.inv_std.span(), false,
                        c.dy.span(), c.dgamma.span(), c.dbeta.span());
    EXPECT_EQ(c.dy.bytes(), c.dx.bytes()) << "in place";
  }
}

TEST_P(LayerNorm, BackwardAddsToDxWhenAsked) {
  for (const Size& size : kRows) {
    Case c(GetParam(), size, size.rows);
    LayerNormGradients expected(c);
    for (std::int64_t i = 0; i < c.dx.size(); ++i) expected.dx[i] += c.dx.at(i);
    layer_norm_backward(pool, c.rows, c.x.span(), c.dy.span(), c.gamma.span(), c.mean.span(), c.inv_std.span(), true,
                        c.dx.span(), c.dgamma.span(), c.dbeta.span());
    expect_close(c.dx, expected.dx, GetParam(), 1e-5, c.columns < 3 ? 100.0 : 5.0);
  }
}

TEST_P(LayerNorm, GivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    Case c(GetParam(), {1001, 97}, 1001);
    layer_norm(threads, c.rows, c.x.span(), c.gamma.span(), c.beta.span(), c.y.span(), c.mean.span(), c.inv_std.span());
    layer_norm_backward(threads, c.rows, c.x.span(), c.dy.span(), c.gamma.span(), c.mean.span(), c.inv_std.span(), true,
                        c.dx.span(), c.dgamma.span(), c.dbeta.span());
    return Outputs{c.y.bytes(), c.mean.bytes(), c.inv_std.bytes(), c.dx.bytes(), c.dgamma.bytes(), c.dbeta.bytes()};
  });
}

TEST_P(LayerNorm, ARowDoesNotDependOnItsNeighbours) {
  Case many(GetParam(), {50, 77}, 50);
  layer_norm(pool, 50, many.x.span(), many.gamma.span(), many.beta.span(), many.y.span(), many.mean.span(),
             many.inv_std.span());
  Case one(GetParam(), {1, 77}, 1);
  layer_norm(pool, 1, many.x.span().subspan(43 * 77, 77), many.gamma.span(), many.beta.span(), one.y.span(),
             one.mean.span(), one.inv_std.span());
  for (std::int64_t k = 0; k < 77; ++k) EXPECT_EQ(one.y.at(k), many.y.at(43 * 77 + k));
}

}  // namespace
}  // namespace ballast
