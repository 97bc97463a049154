// Memory, elementwise operations, linear algebra, convolution, reductions and updates. See the header; axes as in
// compute/backend.h.
#include "tests/support/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "compute/philox.h"
#include "tests/support/reference_elements.h"

namespace ballast {
namespace {

constexpr std::size_t kAlignment = 4096;

// sqrt(2 / pi) and the cubic coefficient of the tanh form.
constexpr double kGeluScale = 0.79788456080286535588;
constexpr double kGeluCubic = 0.044715;

/// Calls body(b, oy, ox, o, i, iy, ix, ky, kx) flattened to the three element indices of y, x and w for every product
/// of a convolution.
template <typename Body>
void for_each_product(const ConvShape& s, const Body& body) {
  const std::int64_t out_rows = s.out_rows(), out_columns = s.out_columns();
  for (std::int64_t b = 0; b < s.samples; ++b)
    for (std::int64_t oy = 0; oy < out_rows; ++oy)
      for (std::int64_t ox = 0; ox < out_columns; ++ox)
        for (std::int64_t o = 0; o < s.outputs; ++o)
          for (std::int64_t i = 0; i < s.inputs; ++i)
            for (std::int64_t ky = 0; ky < s.kernel; ++ky)
              for (std::int64_t kx = 0; kx < s.kernel; ++kx) {
                const std::int64_t iy = oy * s.stride - s.pad + ky, ix = ox * s.stride - s.pad + kx;
                if (iy < 0 || iy >= s.rows || ix < 0 || ix >= s.columns) continue;
                body(((b * out_rows + oy) * out_columns + ox) * s.outputs + o,
                     ((b * s.rows + iy) * s.columns + ix) * s.inputs + i,
                     ((o * s.inputs + i) * s.kernel + ky) * s.kernel + kx);
              }
}

void store_all(const std::vector<double>& sums, DeviceSpan y) {
  for (std::int64_t i = 0; i < y.size; ++i) store(y, i, sums[static_cast<std::size_t>(i)]);
}

double sign(double x) { return static_cast<double>(x > 0.0) - static_cast<double>(x < 0.0); }

}  // namespace

// --- memory ---------------------------------------------------------------------------------------------------------

void* ReferenceBackend::allocate(std::int64_t bytes) {
  std::size_t space = static_cast<std::size_t>(bytes) + kAlignment;
  auto block = std::make_unique<std::byte[]>(space);
  // Not cleared for the caller: garbage that turns into NaN in every type, so that a read before a write shows.
  std::memset(block.get(), 0xFF, space);
  void* aligned = block.get();
  std::align(kAlignment, static_cast<std::size_t>(bytes), aligned, space);
  blocks_.emplace(aligned, std::move(block));
  return aligned;
}

void ReferenceBackend::release(void* memory) noexcept { blocks_.erase(memory); }

void ReferenceBackend::upload(std::span<const std::byte> host, DeviceSpan device) {
  require(static_cast<std::int64_t>(host.size()) == device.bytes(), "upload: sizes differ");
  std::copy(host.begin(), host.end(), static_cast<std::byte*>(device.data));
}

void ReferenceBackend::download(ConstDeviceSpan device, std::span<std::byte> host) {
  require(static_cast<std::int64_t>(host.size()) == device.bytes(), "download: sizes differ");
  std::copy_n(static_cast<const std::byte*>(device.data), host.size(), host.data());
}

void ReferenceBackend::zero(DeviceSpan x) {
  for (std::int64_t i = 0; i < x.size; ++i) store(x, i, 0.0);
}

// --- elementwise ----------------------------------------------------------------------------------------------------

void ReferenceBackend::convert(ConstDeviceSpan from, DeviceSpan to) {
  require(from.size == to.size, "convert: sizes differ");
  for (std::int64_t i = 0; i < to.size; ++i) store(to, i, load(from, i));
}

void ReferenceBackend::add(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  require(a.size == y.size && b.size == y.size, "add: sizes differ");
  for (std::int64_t i = 0; i < y.size; ++i) store(y, i, load(a, i) + load(b, i));
}

void ReferenceBackend::relu(ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size, "relu: sizes differ");
  for (std::int64_t i = 0; i < y.size; ++i) store(y, i, std::max(load(x, i), 0.0));
}

void ReferenceBackend::relu_backward(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) {
  require(y.size == dy.size && y.size == dx.size, "relu_backward: sizes differ");
  for (std::int64_t i = 0; i < dx.size; ++i) store(dx, i, load(y, i) > 0.0 ? load(dy, i) : 0.0);
}

/// y = x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
void ReferenceBackend::gelu(ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size, "gelu: sizes differ");
  for (std::int64_t i = 0; i < y.size; ++i) {
    const double v = load(x, i);
    store(y, i, 0.5 * v * (1.0 + std::tanh(kGeluScale * (v + kGeluCubic * v * v * v))));
  }
}

/// dx = dy ((1 + tanh(u)) / 2 + x / 2 (1 - tanh(u)^2) du/dx)
void ReferenceBackend::gelu_backward(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  require(x.size == dy.size && x.size == dx.size, "gelu_backward: sizes differ");
  for (std::int64_t i = 0; i < dx.size; ++i) {
    const double v = load(x, i);
    const double t = std::tanh(kGeluScale * (v + kGeluCubic * v * v * v));
    const double slope = kGeluScale * (1.0 + 3.0 * kGeluCubic * v * v);
    store(dx, i, load(dy, i) * (0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * slope));
  }
}

void ReferenceBackend::dropout(const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  if (samples == 0) return;
  require(x.size == y.size && y.size % samples == 0, "dropout: sizes differ");
  const std::int64_t elements = y.size / samples;
  const double scale = 1.0 / (1.0 - static_cast<double>(key.rate));
  for (std::int64_t i = 0; i < samples; ++i)
    for (std::int64_t e = 0; e < elements; ++e) {
      const auto block = static_cast<std::uint32_t>(e / 4);
      const auto words =
          philox({block, key.operation, key.step, key.first_sample + static_cast<std::uint32_t>(i)}, key.seed);
      const bool kept = uniform(words[static_cast<std::size_t>(e % 4)]) >= key.rate;
      store(y, i * elements + e, kept ? load(x, i * elements + e) * scale : 0.0);
    }
}

// --- linear algebra -------------------------------------------------------------------------------------------------

void ReferenceBackend::matmul(const MatmulShape& s, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                              DeviceSpan c) {
  require(a.size == s.m * s.k && b.size == s.k * s.n && c.size == s.m * s.n, "matmul: sizes differ from the shape");
  require(bias.empty() || bias.size == s.n, "matmul: the bias has another size than the columns");
  for (std::int64_t m = 0; m < s.m; ++m)
    for (std::int64_t n = 0; n < s.n; ++n) {
      double sum = bias.empty() ? 0.0 : load(bias, n);
      for (std::int64_t k = 0; k < s.k; ++k)
        sum += load(a, s.transpose_a ? k * s.m + m : m * s.k + k) * load(b, s.transpose_b ? n * s.k + k : k * s.n + n);
      store(c, m * s.n + n, sum + (s.accumulate ? load(c, m * s.n + n) : 0.0));
    }
}

void ReferenceBackend::bias_backward(std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) {
  require(dy.size == rows * dbias.size, "bias_backward: sizes differ");
  for (std::int64_t n = 0; n < dbias.size; ++n) {
    double sum = 0.0;
    for (std::int64_t r = 0; r < rows; ++r) sum += load(dy, r * dbias.size + n);
    add_to(dbias, n, sum);
  }
}

// --- convolution ----------------------------------------------------------------------------------------------------

void ReferenceBackend::conv2d(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  std::vector<double> sums(static_cast<std::size_t>(y.size));
  for_each_product(shape, [&](std::int64_t iy, std::int64_t ix, std::int64_t iw) {
    sums[static_cast<std::size_t>(iy)] += load(x, ix) * load(w, iw);
  });
  store_all(sums, y);
}

void ReferenceBackend::conv2d_backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w,
                                            DeviceSpan dx) {
  std::vector<double> sums(static_cast<std::size_t>(dx.size));
  for_each_product(shape, [&](std::int64_t iy, std::int64_t ix, std::int64_t iw) {
    sums[static_cast<std::size_t>(ix)] += load(dy, iy) * load(w, iw);
  });
  store_all(sums, dx);
}

void ReferenceBackend::conv2d_backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy,
                                               DeviceSpan dw) {
  std::vector<double> sums(static_cast<std::size_t>(dw.size));
  for_each_product(shape, [&](std::int64_t iy, std::int64_t ix, std::int64_t iw) {
    sums[static_cast<std::size_t>(iw)] += load(dy, iy) * load(x, ix);
  });
  for (std::int64_t i = 0; i < dw.size; ++i) add_to(dw, i, sums[static_cast<std::size_t>(i)]);
}

void ReferenceBackend::average_pool(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size * pixels, "average_pool: sizes differ");
  if (samples == 0) return;
  const std::int64_t channels = y.size / samples;
  for (std::int64_t b = 0; b < samples; ++b)
    for (std::int64_t c = 0; c < channels; ++c) {
      double sum = 0.0;
      for (std::int64_t p = 0; p < pixels; ++p) sum += load(x, (b * pixels + p) * channels + c);
      store(y, b * channels + c, sum / static_cast<double>(pixels));
    }
}

void ReferenceBackend::average_pool_backward(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy,
                                             DeviceSpan dx) {
  require(dx.size == dy.size * pixels, "average_pool_backward: sizes differ");
  if (samples == 0) return;
  const std::int64_t channels = dy.size / samples;
  for (std::int64_t i = 0; i < dx.size; ++i) {
    const std::int64_t b = i / (pixels * channels);
    store(dx, i, load(dy, b * channels + i % channels) / static_cast<double>(pixels));
  }
}

// --- reduction and update -------------------------------------------------------------------------------------------

void ReferenceBackend::ordered_sum(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                   DeviceSpan sum) {
  // Every inner node is rounded to the type of the sum. A double sum of two f32 rounded to f32 is the f32 sum, so f32
  // backends must agree with this to the last bit.
  const DType dtype = sum.dtype;
  const auto rounded = [dtype](double x) {
    return dtype == DType::kF64 ? x : static_cast<double>(static_cast<float>(x));
  };
  std::vector<double> stack;
  for (std::int64_t i = 0; i < sum.size; ++i) {
    for (const int node : tree) {
      if (node >= 0) {
        stack.push_back(load(addends[static_cast<std::size_t>(node)], i));
        continue;
      }
      const double right = stack.back();
      stack.pop_back();
      stack.back() = rounded(stack.back() + right);
    }
    store(sum, i, stack.back());
    stack.clear();
  }
}

double ReferenceBackend::sum_of_squares(ConstDeviceSpan x) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < x.size; ++i) sum += load(x, i) * load(x, i);
  return sum;
}

namespace {

/// One step of the state of element i, and the direction of its update. Formulas in compute/update.h.
double direction(const UpdateRule& rule, const UpdateRun& run, std::int64_t i, double g) {
  const double beta1 = rule.beta1, beta2 = rule.beta2, epsilon = rule.epsilon;
  const auto advance = [i](DeviceSpan state, double value) {
    store(state, i, value);
    return value;
  };
  switch (rule.kind) {
    case UpdateKind::kSgd:
      return g;
    case UpdateKind::kMomentum:
      return advance(run.state[0], beta1 * load(run.state[0], i) + g);
    case UpdateKind::kNesterov:
      return g + beta1 * advance(run.state[0], beta1 * load(run.state[0], i) + g);
    case UpdateKind::kAdaGrad:
      return g / (std::sqrt(advance(run.state[0], load(run.state[0], i) + g * g)) + epsilon);
    case UpdateKind::kRmsProp:
      return g / (std::sqrt(advance(run.state[0], beta2 * load(run.state[0], i) + (1.0 - beta2) * g * g)) + epsilon);
    case UpdateKind::kAdam: {
      const double m = advance(run.state[0], beta1 * load(run.state[0], i) + (1.0 - beta1) * g);
      const double v = advance(run.state[1], beta2 * load(run.state[1], i) + (1.0 - beta2) * g * g);
      return m * rule.correction1 / (std::sqrt(v * rule.correction2) + epsilon);
    }
    case UpdateKind::kAverage:
      break;
  }
  return 0.0;
}

}  // namespace

UpdateSums ReferenceBackend::update(const UpdateRule& rule, const UpdateRun& run) {
  UpdateSums sums;
  const double lr = rule.lr;
  for (std::int64_t i = 0; i < run.value.size; ++i) {
    const double old = load(run.value, i), gradient = load(run.gradient, i);
    double w = old;
    if (rule.kind == UpdateKind::kAverage) {
      w += (1.0 - static_cast<double>(rule.beta1)) * (gradient - old);
    } else {
      const double g = rule.gradient_scale * gradient + rule.l2 * old + rule.l1 * sign(old);
      w -= lr * rule.weight_decay * w;
      w -= lr * direction(rule, run, i, g);
    }
    store(run.value, i, w);
    if (!run.compute.empty()) store(run.compute, i, load(run.value, i));
    if (!rule.want_sums) continue;
    const double now = load(run.value, i);
    sums.value_squares += now * now;
    sums.change_squares += (now - old) * (now - old);
  }
  return sums;
}

}  // namespace ballast
