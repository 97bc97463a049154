// batch_norm and layer_norm on any backend.
#include "tests/compute/operation_case.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

struct Size {
  std::int64_t rows, columns;
  [[nodiscard]] std::int64_t elements() const { return rows * columns; }
};

const std::vector<Size> kBatches = {{1, 1}, {2, 3}, {5, 16}, {33, 17}, {130, 10}, {70, 64}, {515, 5}};
const std::vector<Size> kRows = {{0, 8}, {1, 1}, {1, 2}, {3, 7}, {5, 16}, {2, 63}, {33, 65}, {9, 256}, {2, 1500}};

/// What may follow a batch norm.
const std::vector<BatchNormShape> kTails = {{}, {.relu = true}, {.relu = true, .skip = true}};

BatchNormShape with_rows(BatchNormShape tail, std::int64_t rows) {
  tail.rows = rows;
  return tail;
}

std::string describe(const Size& size, const BatchNormShape& tail) {
  return std::to_string(size.rows) + " x " + std::to_string(size.columns) + (tail.relu ? ", relu" : "") +
         (tail.skip ? ", skip" : "");
}

/// The tensors of one normalisation of x_RC. x lies away from zero, so that a mean that was forgotten shows.
struct Inputs {
  std::vector<double> x, skip, gamma, beta, dy, dgamma, dbeta;
  Inputs(DType dtype, const Size& size)
      : x(random_values(dtype, size.elements(), 1, 2.0, 4.0)),
        skip(random_values(dtype, size.elements(), 8)),
        gamma(random_values(DType::kF32, size.columns, 2)),
        beta(random_values(DType::kF32, size.columns, 3)),
        dy(random_values(dtype, size.elements(), 4)),
        dgamma(random_values(DType::kF32, size.columns, 6)),
        dbeta(random_values(DType::kF32, size.columns, 7)) {}
};

DeviceSpan as_span(std::vector<double>& values) { return {values.data(), std::ssize(values), DType::kF64}; }

/// What the forward pass keeps for backward: of `groups` means.
struct Kept {
  std::vector<double> y, mean, inv_std, var;
  Kept(std::int64_t elements, std::int64_t groups)
      : y(static_cast<std::size_t>(elements)),
        mean(static_cast<std::size_t>(groups)),
        inv_std(mean.size()),
        var(mean.size()) {}
};

Kept kept_by_batch_norm(const BatchNormShape& shape, Inputs inputs) {
  Kept kept(std::ssize(inputs.x), std::ssize(inputs.gamma));
  ReferenceBackend().batch_norm(shape, as_span(inputs.x), as_span(inputs.skip), as_span(inputs.gamma),
                                as_span(inputs.beta), as_span(kept.y), as_span(kept.mean), as_span(kept.inv_std),
                                as_span(kept.var));
  return kept;
}

Kept kept_by_layer_norm(const Size& size, Inputs inputs) {
  Kept kept(size.elements(), size.rows);
  ReferenceBackend().layer_norm(size.rows, as_span(inputs.x), as_span(inputs.gamma), as_span(inputs.beta),
                                as_span(kept.y), as_span(kept.mean), as_span(kept.inv_std));
  return kept;
}

BALLAST_BOTH_TYPES(OperationsBatchNorm);
BALLAST_BOTH_TYPES(OperationsLayerNorm);

TEST_P(OperationsBatchNorm, NormalisesEveryChannelOverTheRows) {
  for (const Size& size : kBatches) {
    for (const BatchNormShape& tail : kTails) {
      SCOPED_TRACE(describe(size, tail));
      const BatchNormShape shape = with_rows(tail, size.rows);
      const Inputs in(GetParam(), size);
      OperationCase c;
      const int x = c.reads("x", GetParam(), in.x);
      const int skip = c.reads("skip", GetParam(), in.skip);
      const int gamma = c.reads("gamma", DType::kF32, in.gamma);
      const int beta = c.reads("beta", DType::kF32, in.beta);
      const int y = c.writes("y", GetParam(), size.elements(), {.relative = 1e-5, .scale = 1.0});
      const int mean = c.writes("mean", DType::kF32, size.columns, {.relative = 1e-6});
      // The variance of one row is zero: what is left of it is rounding, beside an epsilon of 1e-5.
      const int inv_std = c.writes("inv_std", DType::kF32, size.columns, {.relative = size.rows == 1 ? 1e-2 : 1e-5});
      const int var = c.writes("var", DType::kF32, size.columns, {.relative = 1e-5, .scale = 1e-7});
      c.check(*backend, [&](Backend& on, const Arguments& t) {
        on.batch_norm(shape, t[x], shape.skip ? t[skip] : DeviceSpan{}, t[gamma], t[beta], t[y], t[mean], t[inv_std],
                      t[var]);
      });
    }
  }
}

TEST_P(OperationsBatchNorm, MayWriteOverTheSkip) {
  const Size size{70, 33};
  const BatchNormShape shape{.rows = size.rows, .relu = true, .skip = true};
  const Inputs in(GetParam(), size);
  OperationCase c;
  const int x = c.reads("x", GetParam(), in.x);
  const int y = c.updates("y", GetParam(), in.skip, {.relative = 1e-5, .scale = 1.0});
  const int gamma = c.reads("gamma", DType::kF32, in.gamma);
  const int beta = c.reads("beta", DType::kF32, in.beta);
  std::vector<int> statistics;
  for (const char* name : {"mean", "inv_std", "var"})
    statistics.push_back(c.writes(name, DType::kF32, size.columns, {.relative = 1e-5}));
  c.check(*backend, [&](Backend& on, const Arguments& t) {
    on.batch_norm(shape, t[x], t[y], t[gamma], t[beta], t[y], t[statistics[0]], t[statistics[1]], t[statistics[2]]);
  });
}

TEST_P(OperationsBatchNorm, KeepsAVarianceThatIsSmallBesideTheMean) {
  std::vector<double> values;
  for (int i = 0; i < 300; ++i) values.push_back(GetParam() == DType::kF32 ? 10000.0 + i % 2 : 128.0 + i % 2);
  OperationCase c;
  const int x = c.reads("x", GetParam(), values);
  const int gamma = c.reads("gamma", DType::kF32, {1.0});
  const int beta = c.reads("beta", DType::kF32, {0.0});
  const int y = c.writes("y", GetParam(), 300, {.relative = 5e-3, .scale = 1.0});
  const int mean = c.writes("mean", DType::kF32, 1, {.relative = 1e-7});
  const int inv_std = c.writes("inv_std", DType::kF32, 1, {.relative = 2e-3});
  const int var = c.writes("var", DType::kF32, 1, {.relative = 4e-3});
  c.check(*backend, [&](Backend& on, const Arguments& t) {
    on.batch_norm({.rows = 300}, t[x], {}, t[gamma], t[beta], t[y], t[mean], t[inv_std], t[var]);
  });
}

TEST_P(OperationsBatchNorm, InferenceUsesTheGivenStatisticsAlsoInPlace) {
  const Tolerance tolerance{.relative = 1e-6, .scale = 2.0};
  for (const Size& size : kBatches) {
    for (const BatchNormShape& tail : kTails) {
      SCOPED_TRACE(describe(size, tail));
      const BatchNormShape shape = with_rows(tail, size.rows);
      const Inputs in(GetParam(), size);
      OperationCase c;
      const int x = c.reads("x", GetParam(), in.x);
      const int skip = c.reads("skip", GetParam(), in.skip);
      const int gamma = c.reads("gamma", DType::kF32, in.gamma);
      const int beta = c.reads("beta", DType::kF32, in.beta);
      const int mean = c.reads("mean", DType::kF32, random_values(DType::kF32, size.columns, 9));
      const int var = c.reads("var", DType::kF32, random_values(DType::kF32, size.columns, 10, 0.5, 2.0));
      const int y = c.writes("y", GetParam(), size.elements(), tolerance);
      const int over_x = c.updates("over x", GetParam(), in.x, tolerance);
      const int over_skip = c.updates("over skip", GetParam(), in.skip, tolerance);
      c.check(*backend, [&](Backend& on, const Arguments& t) {
        const auto infer = [&](DeviceSpan from, DeviceSpan added, DeviceSpan to) {
          on.batch_norm_inference(shape, from, shape.skip ? added : DeviceSpan{}, t[gamma], t[beta], t[mean], t[var],
                                  to);
        };
        infer(t[x], t[skip], t[y]);
        infer(t[over_x], t[skip], t[over_x]);
        infer(t[x], t[over_skip], t[over_skip]);
      });
    }
  }
}

TEST_P(OperationsBatchNorm, ReluKeepsNaN) {
  OperationCase c;
  const int x = c.reads("x", GetParam(), {kNan, -1.0, 1.0});
  const int ones = c.reads("gamma, var", DType::kF32, {1.0});
  const int zeros = c.reads("beta, mean", DType::kF32, {0.0});
  const int y = c.writes("y", GetParam(), 3, {.relative = 1e-4});
  c.check(*backend, [&](Backend& on, const Arguments& t) {
    on.batch_norm_inference({.rows = 3, .relu = true}, t[x], {}, t[ones], t[zeros], t[zeros], t[ones], t[y]);
  });
}

/// One call of batch_norm_backward: which memory the gradients of x and of the skip go to.
enum class Place { kOwn, kDxOverDy, kSkipOverDy, kNoSkipWanted };

/// Adds the tensors of one call to `c` and gives the call.
OperationCase::Operation batch_norm_backward_of(OperationCase& c, DType dtype, const BatchNormShape& shape,
                                                const Size& size, Place place) {
  const Inputs in(dtype, size);
  const Kept kept = kept_by_batch_norm(shape, in);
  const Tolerance tolerance{.relative = 5e-6, .scale = size.rows < 3 ? 100.0 : 5.0};
  const Tolerance sums = tolerance_of_sum(size.rows + 1, 1.0);
  const bool writes_over_dy = place == Place::kDxOverDy || place == Place::kSkipOverDy;
  const int x = c.reads("x", dtype, in.x);
  const int y = c.reads("y", dtype, kept.y);
  const int dy = writes_over_dy ? c.updates("dy", dtype, in.dy, tolerance) : c.reads("dy", dtype, in.dy);
  const int gamma = c.reads("gamma", DType::kF32, in.gamma);
  const int beta = c.reads("beta", DType::kF32, in.beta);
  const int mean = c.reads("mean", DType::kF32, kept.mean);
  const int inv_std = c.reads("inv_std", DType::kF32, kept.inv_std);
  const int dx = place == Place::kDxOverDy ? dy : c.writes("dx", dtype, size.elements(), tolerance);
  const bool has_dskip = shape.skip && place != Place::kNoSkipWanted;
  const int own_dskip = has_dskip && place != Place::kSkipOverDy ? c.writes("dskip", dtype, size.elements(), {}) : dy;
  const int dgamma = c.updates("dgamma", DType::kF32, in.dgamma, sums);
  const int dbeta = c.updates("dbeta", DType::kF32, in.dbeta, sums);
  return [=](Backend& on, const Arguments& t) {
    on.batch_norm_backward(shape, {.x = t[x],
                                   .y = shape.skip ? t[y] : DeviceSpan{},
                                   .dy = t[dy],
                                   .gamma = t[gamma],
                                   .beta = t[beta],
                                   .mean = t[mean],
                                   .inv_std = t[inv_std],
                                   .dx = t[dx],
                                   .dskip = has_dskip ? t[own_dskip] : DeviceSpan{},
                                   .dgamma = t[dgamma],
                                   .dbeta = t[dbeta]});
  };
}

TEST_P(OperationsBatchNorm, BackwardIsTheDerivativeAndAddsToTheParameters) {
  for (const Size& size : kBatches) {
    for (const BatchNormShape& tail : kTails) {
      SCOPED_TRACE(describe(size, tail));
      OperationCase c;
      const auto call = batch_norm_backward_of(c, GetParam(), with_rows(tail, size.rows), size, Place::kOwn);
      c.check(*backend, call);
    }
  }
}

TEST_P(OperationsBatchNorm, BackwardMayWriteOverDyAndLeaveTheSkipOut) {
  const Size size{70, 33};
  for (const BatchNormShape& tail : kTails) {
    for (const Place place : {Place::kDxOverDy, Place::kSkipOverDy, Place::kNoSkipWanted}) {
      if (place == Place::kSkipOverDy && !tail.skip) continue;
      SCOPED_TRACE(describe(size, tail) + ", place " + std::to_string(static_cast<int>(place)));
      OperationCase c;
      const auto call = batch_norm_backward_of(c, GetParam(), with_rows(tail, size.rows), size, place);
      c.check(*backend, call);
    }
  }
}

TEST_P(OperationsLayerNorm, NormalisesEveryRowAlsoInPlace) {
  for (const Size& size : kRows) {
    SCOPED_TRACE(describe(size, {}));
    const Inputs in(GetParam(), size);
    OperationCase c;
    const int x = c.reads("x", GetParam(), in.x);
    const int gamma = c.reads("gamma", DType::kF32, in.gamma);
    const int beta = c.reads("beta", DType::kF32, in.beta);
    const int y = c.writes("y", GetParam(), size.elements(), {.relative = 1e-5, .scale = 1.0});
    const int in_place = c.updates("in place", GetParam(), in.x, {.relative = 1e-5, .scale = 1.0});
    const int mean = c.writes("mean", DType::kF32, size.rows, {.relative = 1e-6});
    const int inv_std = c.writes("inv_std", DType::kF32, size.rows, {.relative = size.columns == 1 ? 1e-2 : 1e-5});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.layer_norm(size.rows, t[in_place], t[gamma], t[beta], t[in_place], t[mean], t[inv_std]);
      on.layer_norm(size.rows, t[x], t[gamma], t[beta], t[y], t[mean], t[inv_std]);
    });
  }
}

TEST_P(OperationsLayerNorm, BackwardIsTheDerivativeAndAddsToTheParameters) {
  for (const Size& size : kRows) {
    SCOPED_TRACE(describe(size, {}));
    const Tolerance tolerance{.relative = 1e-5, .scale = size.columns < 3 ? 100.0 : 5.0};
    const Tolerance sums{.relative = tolerance_of_sum(size.rows + 1, 1.0).relative,
                         .scale = 10.0 + 2.0 * static_cast<double>(size.rows)};
    const Inputs in(GetParam(), size);
    const Kept kept = kept_by_layer_norm(size, in);
    OperationCase c;
    const int x = c.reads("x", GetParam(), in.x);
    const int dy = c.reads("dy", GetParam(), in.dy);
    const int gamma = c.reads("gamma", DType::kF32, in.gamma);
    const int mean = c.reads("mean", DType::kF32, kept.mean);
    const int inv_std = c.reads("inv_std", DType::kF32, kept.inv_std);
    const int dx = c.writes("dx", GetParam(), size.elements(), tolerance);
    const int added = c.updates("dx, added to", GetParam(), random_values(GetParam(), size.elements(), 5), tolerance);
    const int over_dy = c.updates("dx over dy", GetParam(), in.dy, tolerance);
    const int dgamma = c.updates("dgamma", DType::kF32, in.dgamma, sums);
    const int dbeta = c.updates("dbeta", DType::kF32, in.dbeta, sums);
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      const auto backward = [&](DeviceSpan gradient, bool accumulate, DeviceSpan to) {
        on.layer_norm_backward(size.rows, t[x], gradient, t[gamma], t[mean], t[inv_std], accumulate, to, t[dgamma],
                               t[dbeta]);
      };
      backward(t[dy], false, t[dx]);
      backward(t[dy], true, t[added]);
      backward(t[over_dy], false, t[over_dy]);
    });
  }
}

}  // namespace
}  // namespace ballast
