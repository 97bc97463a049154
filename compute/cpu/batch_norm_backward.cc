// Defines: batch_norm_backward.
// Axes: R = rows (samples and pixels), C = channels, W = a long row of RowPattern.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/batch_norm_backward.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include "compute/cpu/batch_norm_inl.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/normalisation.h"
#include "compute/cpu/row_blocks.h"
#include "compute/cpu/row_pattern.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

// How one vector is read and written: whole, or the first `count` elements of it.
struct Whole {
  template <class T>
  HWY_INLINE Vector read(const T* from) const {
    return load(from);
  }
  template <class T>
  HWY_INLINE void write(Vector x, T* to) const {
    store(x, to);
  }
};

struct Part {
  std::int64_t count;
  template <class T>
  HWY_INLINE Vector read(const T* from) const {
    return load_part(from, count);
  }
  template <class T>
  HWY_INLINE void write(Vector x, T* to) const {
    store_part(x, to, count);
  }
};

// The gradient g of what stands before the relu, of element i in column k of the pattern.

template <class T>
struct AsItIs {
  const T* dy;
  template <class Extent>
  HWY_INLINE Vector operator()(const Extent& extent, std::int64_t i, std::int64_t /*k*/, Vector /*x*/) const {
    return extent.read(dy + i);
  }
};

/// Computes the sign again: cheaper than reading y.
template <class T>
struct ThroughRelu {
  const T* dy;
  Normalisation by;  // by value: behind a reference, every store of a vector would have it read again
  template <class Extent>
  HWY_INLINE Vector operator()(const Extent& extent, std::int64_t i, std::int64_t k, Vector x) const {
    const Vector z = Normalise()(x, extent.read(by.mean + k), extent.read(by.scale + k), extent.read(by.beta + k));
    return Through()(z, extent.read(dy + i));
  }
};

/// The sign depends on the skip as well: y has it. Leaves g in `to`.
template <class T>
struct ThroughOutput {
  const T* dy;
  const T* y;
  T* to;
  template <class Extent>
  HWY_INLINE Vector operator()(const Extent& extent, std::int64_t i, std::int64_t /*k*/, Vector /*x*/) const {
    const Vector g = Through()(extent.read(y + i), extent.read(dy + i));
    extent.write(g, to + i);
    return g;
  }
};

/// Sums over the rows of x_RW: dbeta += g and dgamma += g (x - mean).
template <class T, class Gradient>
struct GradientSums {
  Gradient gradient;
  const float* mean;
  const T* x;
  float* dgamma;
  float* dbeta;

  /// Columns k ... of the long rows that begin at each of `row`: two at a time halve the traffic of the sums.
  template <class Extent, class... Row>
  HWY_INLINE void add(const Extent& extent, std::int64_t k, Row... row) const {
    Vector sum = extent.read(dbeta + k);
    Vector products = extent.read(dgamma + k);
    const Vector centre = extent.read(mean + k);
    (add_one(extent, row + k, k, centre, sum, products), ...);
    extent.write(sum, dbeta + k);
    extent.write(products, dgamma + k);
  }

  template <class Extent>
  HWY_INLINE void add_one(const Extent& extent, std::int64_t i, std::int64_t k, Vector centre, Vector& sum,
                          Vector& products) const {
    const Vector value = extent.read(x + i);
    const Vector g = gradient(extent, i, k, value);
    sum = hn::Add(sum, g);
    products = hn::MulAdd(g, hn::Sub(value, centre), products);
  }

  template <class... Row>
  HWY_INLINE void add_rows(std::int64_t columns, Row... row) const {
    std::int64_t k = 0;
    for (; k + lanes() <= columns; k += lanes()) add(Whole(), k, row...);
    if (k < columns) add(Part{columns - k}, k, row...);
  }

  HWY_INLINE void add_all(std::int64_t n, std::int64_t width) const {
    std::int64_t i = 0;
    for (; i + 2 * width <= n; i += 2 * width) add_rows(width, i, i + width);
    for (; i < n; i += width) add_rows(std::min(width, n - i), i);
  }
};

/// dx = scale (g - offset - (x - mean) slope).
struct Backward {
  HWY_INLINE Vector operator()(Vector g, Vector x, Vector mean, Vector scale, Vector offset, Vector slope) const {
    return hn::Mul(scale, hn::NegMulAdd(hn::Sub(x, mean), slope, hn::Sub(g, offset)));
  }
};

struct BackwardThroughRelu {
  HWY_INLINE Vector operator()(Vector dy, Vector x, Vector mean, Vector scale, Vector offset, Vector slope,
                               Vector beta) const {
    const Vector g = Through()(Normalise()(x, mean, scale, beta), dy);
    return Backward()(g, x, mean, scale, offset, slope);
  }
};

template <class T, class Gradient>
HWY_INLINE void add_sums(const Gradient& gradient, const Normalisation& by, ConstDeviceSpan x, float* dgamma,
                         float* dbeta) {
  const GradientSums<T, Gradient> sums{gradient, by.mean, static_cast<const T*>(x.data), dgamma, dbeta};
  sums.add_all(x.size, by.width);
}

template <class T>
void sums_of(const BatchNormShape& shape, const Normalisation& by, ConstDeviceSpan x, ConstDeviceSpan y,
             ConstDeviceSpan dy, DeviceSpan g, float* dgamma, float* dbeta) {
  const auto* const from = static_cast<const T*>(dy.data);
  if (shape.skip) {
    const ThroughOutput<T> gradient{from, static_cast<const T*>(y.data), static_cast<T*>(g.data)};
    return add_sums<T>(gradient, by, x, dgamma, dbeta);
  }
  if (shape.relu) return add_sums<T>(ThroughRelu<T>{from, by}, by, x, dgamma, dbeta);
  add_sums<T>(AsItIs<T>{from}, by, x, dgamma, dbeta);
}

/// `g` is dy where the sign is still to be looked at (`relu`).
template <class T>
void backward_of(bool relu, const Normalisation& by, const float* offset, const float* slope, ConstDeviceSpan x,
                 ConstDeviceSpan g, DeviceSpan dx) {
  const auto* const x_from = static_cast<const T*>(x.data);
  const auto* const g_from = static_cast<const T*>(g.data);
  auto* const to = static_cast<T*>(dx.data);
  for (std::int64_t i = 0; i < x.size; i += by.width) {
    const std::int64_t n = std::min(by.width, x.size - i);
    if (relu) {
      map(BackwardThroughRelu(), n, to + i, g_from + i, x_from + i, by.mean, by.scale, offset, slope, by.beta);
    } else {
      map(Backward(), n, to + i, g_from + i, x_from + i, by.mean, by.scale, offset, slope);
    }
  }
}

// For spans of either type, exported.

void sums_span(const BatchNormShape& shape, const Normalisation& by, ConstDeviceSpan x, ConstDeviceSpan y,
               ConstDeviceSpan dy, DeviceSpan g, float* dgamma, float* dbeta) {
  if (x.dtype == DType::kBF16) return sums_of<Bf16>(shape, by, x, y, dy, g, dgamma, dbeta);
  sums_of<float>(shape, by, x, y, dy, g, dgamma, dbeta);
}

void backward_span(bool relu, const Normalisation& by, const float* offset, const float* slope, ConstDeviceSpan x,
                   ConstDeviceSpan g, DeviceSpan dx) {
  if (x.dtype == DType::kBF16) return backward_of<Bf16>(relu, by, offset, slope, x, g, dx);
  backward_of<float>(relu, by, offset, slope, x, g, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(sums_span);
HWY_EXPORT(backward_span);

namespace {

const float* floats(ConstDeviceSpan x) { return static_cast<const float*>(x.data); }

bool is_per_channel(ConstDeviceSpan x, std::int64_t columns) { return x.size == columns && x.dtype == DType::kF32; }

bool alike(ConstDeviceSpan a, ConstDeviceSpan x) { return a.size == x.size && a.dtype == x.dtype; }

void check(const BatchNormShape& shape, const BatchNormGradients& t) {
  const std::int64_t columns = t.gamma.size;
  require(t.x.size == shape.rows * columns && alike(t.dy, t.x) && alike(t.dx, t.x),
          "batch_norm_backward: x, dy and dx are not [rows, channels] of one type");
  require(shape.relu || !shape.skip, "batch_norm: a skip is added only before a relu");
  require(!shape.skip || (alike(t.y, t.x) && (t.dskip.empty() || alike(t.dskip, t.x))),
          "batch_norm_backward: y and dskip are not as x");
  require(is_per_channel(t.gamma, columns) && is_per_channel(t.beta, columns) && is_per_channel(t.mean, columns) &&
              is_per_channel(t.inv_std, columns) && is_per_channel(t.dgamma, columns) &&
              is_per_channel(t.dbeta, columns),
          "batch_norm_backward: parameters, statistics and gradients are not f32 [channels]");
}

/// Part of a tensor that need not be there.
template <class Span>
Span part_of(Span x, std::int64_t begin, std::int64_t size) {
  return x.empty() ? x : x.subspan(begin, size);
}

}  // namespace

void batch_norm_backward(ThreadPool& pool, const BatchNormShape& shape, const BatchNormGradients& t) {
  check(shape, t);
  if (t.x.empty()) return;
  const std::int64_t columns = t.gamma.size;
  const RowPattern pattern(columns);
  const std::int64_t width = pattern.width();
  ScratchArray<float> scale(pool.scratch(), columns);
  for (std::int64_t c = 0; c < columns; ++c) scale[c] = floats(t.gamma)[c] * floats(t.inv_std)[c];
  const ScratchArray<float> repeated = pattern.repeated(pool.scratch(), {floats(t.mean), scale.data(), floats(t.beta)});
  const Normalisation by{width, repeated.data(), repeated.data() + width, repeated.data() + 2 * width};

  // With a skip, dy behind the relu is the gradient of the skip; where nobody wants it, dx has room for it.
  const DeviceSpan g = !shape.skip || !t.dskip.empty() ? t.dskip : t.dx;
  const RowBlocks blocks(shape.rows, columns, pattern.copies());
  ScratchArray<float> partials(pool.scratch(), blocks.count() * 2 * width);  // of a block: dgamma_W, dbeta_W
  const auto sums = HWY_DYNAMIC_DISPATCH(sums_span);
  blocks.run(pool, [&](std::int64_t block, std::int64_t first, std::int64_t count) {
    float* const of_block = partials.data() + block * 2 * width;
    const std::int64_t begin = first * columns;
    const std::int64_t size = count * columns;
    sums(shape, by, t.x.subspan(begin, size), part_of(t.y, begin, size), t.dy.subspan(begin, size),
         part_of(g, begin, size), of_block, of_block + width);
    pattern.fold(of_block);
    pattern.fold(of_block + width);
  });
  const ScratchArray<double> products = blocks.add_up(pool, partials.data(), columns, 2 * width);
  const ScratchArray<double> totals = blocks.add_up(pool, partials.data() + width, columns, 2 * width);

  ScratchArray<float> offset(pool.scratch(), columns);
  ScratchArray<float> slope(pool.scratch(), columns);
  const auto rows = static_cast<double>(shape.rows);
  for (std::int64_t c = 0; c < columns; ++c) {
    const auto inv_std = static_cast<double>(floats(t.inv_std)[c]);
    static_cast<float*>(t.dgamma.data)[c] += static_cast<float>(products[c] * inv_std);
    static_cast<float*>(t.dbeta.data)[c] += static_cast<float>(totals[c]);
    offset[c] = static_cast<float>(totals[c] / rows);
    slope[c] = static_cast<float>(products[c] * inv_std * inv_std / rows);
  }
  const ScratchArray<float> subtracted = pattern.repeated(pool.scratch(), {offset.data(), slope.data()});
  const auto kernel = HWY_DYNAMIC_DISPATCH(backward_span);
  const ConstDeviceSpan gradient = shape.skip ? ConstDeviceSpan(g) : t.dy;
  pool.run_ranges(t.x.size, pattern.grain(), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t size = end - begin;
    kernel(shape.relu && !shape.skip, by, subtracted.data(), subtracted.data() + width, t.x.subspan(begin, size),
           gradient.subspan(begin, size), t.dx.subspan(begin, size));
  });
}

}  // namespace ballast
#endif
