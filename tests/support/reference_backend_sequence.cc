// Normalisations, embedding, attention and loss of ReferenceBackend. Axes as in compute/backend.h.
#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/reference_backend.h"
#include "tests/support/reference_elements.h"

namespace ballast {
namespace {

constexpr double kEpsilon = 1e-5;

struct Moments {
  double mean = 0.0, variance = 0.0;
};

/// Mean and biased variance of x[begin], x[begin + stride], ... (count elements).
Moments moments(ConstDeviceSpan x, std::int64_t begin, std::int64_t stride, std::int64_t count) {
  Moments m;
  for (std::int64_t i = 0; i < count; ++i) m.mean += load(x, begin + i * stride);
  m.mean /= static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) m.variance += std::pow(load(x, begin + i * stride) - m.mean, 2);
  m.variance /= static_cast<double>(count);
  return m;
}

/// Positions of q, k, v and y of one head of one sample.
struct Head {
  const AttentionShape& shape;
  std::int64_t sample, head;

  [[nodiscard]] std::int64_t width() const { return shape.heads * shape.head_width; }
  [[nodiscard]] std::int64_t qkv(std::int64_t which, std::int64_t t, std::int64_t d) const {
    return (sample * shape.positions + t) * 3 * width() + which * width() + head * shape.head_width + d;
  }
  [[nodiscard]] std::int64_t y(std::int64_t t, std::int64_t d) const {
    return (sample * shape.positions + t) * width() + head * shape.head_width + d;
  }
  [[nodiscard]] std::int64_t row(std::int64_t t) const { return (sample * shape.heads + head) * shape.positions + t; }
  /// q_t . k_u / sqrt(D)
  [[nodiscard]] double score(ConstDeviceSpan x, std::int64_t t, std::int64_t u) const {
    double sum = 0.0;
    for (std::int64_t d = 0; d < shape.head_width; ++d) sum += load(x, qkv(0, t, d)) * load(x, qkv(1, u, d));
    return sum / std::sqrt(static_cast<double>(shape.head_width));
  }
};

double log_sum_exp_of(const std::vector<double>& x) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0.0;
  for (const double v : x) top = std::max(top, v);
  for (const double v : x) sum += std::exp(v - top);
  return top + std::log(sum);
}

void attend(const Head& h, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp) {
  for (std::int64_t t = 0; t < h.shape.positions; ++t) {
    std::vector<double> scores;
    for (std::int64_t u = 0; u <= t; ++u) scores.push_back(h.score(qkv, t, u));
    const double lse = log_sum_exp_of(scores);
    store(log_sum_exp, h.row(t), lse);
    for (std::int64_t d = 0; d < h.shape.head_width; ++d) {
      double sum = 0.0;
      for (std::int64_t u = 0; u <= t; ++u)
        sum += std::exp(scores[static_cast<std::size_t>(u)] - lse) * load(qkv, h.qkv(2, u, d));
      store(y, h.y(t, d), sum);
    }
  }
}

/// With p_tu = exp(score_tu - lse_t): dv_u += p_tu dy_t; ds_tu = p_tu (dy_t . v_u - dy_t . y_t); dq_t += ds_tu k_u /
/// sqrt(D); dk_u += ds_tu q_t / sqrt(D). `dqkv` holds doubles, zero at the start.
void attend_backward(const Head& h, ConstDeviceSpan qkv, ConstDeviceSpan y, ConstDeviceSpan dy, ConstDeviceSpan lse,
                     std::vector<double>& dqkv) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(h.shape.head_width));
  const auto grad = [&](std::int64_t i) -> double& { return dqkv[static_cast<std::size_t>(i)]; };
  for (std::int64_t t = 0; t < h.shape.positions; ++t) {
    double dy_y = 0.0;
    for (std::int64_t d = 0; d < h.shape.head_width; ++d) dy_y += load(dy, h.y(t, d)) * load(y, h.y(t, d));
    for (std::int64_t u = 0; u <= t; ++u) {
      const double p = std::exp(h.score(qkv, t, u) - load(lse, h.row(t)));
      double dy_v = 0.0;
      for (std::int64_t d = 0; d < h.shape.head_width; ++d) dy_v += load(dy, h.y(t, d)) * load(qkv, h.qkv(2, u, d));
      const double ds = p * (dy_v - dy_y) * scale;
      for (std::int64_t d = 0; d < h.shape.head_width; ++d) {
        grad(h.qkv(2, u, d)) += p * load(dy, h.y(t, d));
        grad(h.qkv(0, t, d)) += ds * load(qkv, h.qkv(1, u, d));
        grad(h.qkv(1, u, d)) += ds * load(qkv, h.qkv(0, t, d));
      }
    }
  }
}

}  // namespace

// --- normalisation --------------------------------------------------------------------------------------------------

void ReferenceBackend::batch_norm(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                  ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean,
                                  DeviceSpan inv_std, DeviceSpan var) {
  const std::int64_t channels = gamma.size;
  require(x.size == shape.rows * channels, "batch_norm: sizes differ");
  for (std::int64_t c = 0; c < channels; ++c) {
    const Moments m = moments(x, c, channels, shape.rows);
    store(mean, c, m.mean);
    store(var, c, m.variance);
    store(inv_std, c, 1.0 / std::sqrt(m.variance + kEpsilon));
  }
  batch_norm_inference(shape, x, skip, gamma, beta, mean, var, y);
}

void ReferenceBackend::batch_norm_inference(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                            ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean,
                                            ConstDeviceSpan var, DeviceSpan y) {
  const std::int64_t channels = gamma.size;
  require(x.size == shape.rows * channels, "batch_norm_inference: sizes differ");
  for (std::int64_t i = 0; i < x.size; ++i) {
    const std::int64_t c = i % channels;
    const double scale = 1.0 / std::sqrt(load(var, c) + kEpsilon);
    const double z = (load(x, i) - load(mean, c)) * scale * load(gamma, c) + load(beta, c);
    const double sum = shape.skip ? z + load(skip, i) : z;
    store(y, i, shape.relu ? std::max(sum, 0.0) : sum);
  }
}

void ReferenceBackend::batch_norm_backward(const BatchNormShape& shape, const BatchNormGradients& t) {
  const std::int64_t channels = t.gamma.size;
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto normal = [&](std::int64_t i) { return (load(t.x, i) - load(t.mean, c)) * load(t.inv_std, c); };
    const auto positive = [&](std::int64_t i) {
      return shape.skip ? load(t.y, i) > 0.0 : normal(i) * load(t.gamma, c) + load(t.beta, c) > 0.0;
    };
    std::vector<double> g;
    double sum = 0.0, sum_n = 0.0;
    for (std::int64_t i = c; i < t.x.size; i += channels) {
      g.push_back(!shape.relu || positive(i) ? load(t.dy, i) : 0.0);
      sum += g.back();
      sum_n += g.back() * normal(i);
    }
    for (std::int64_t r = 0; r < shape.rows; ++r) {
      const std::int64_t i = r * channels + c;
      const double own = g[static_cast<std::size_t>(r)];
      if (!t.dskip.empty()) store(t.dskip, i, own);
      const double centred = own - (sum + normal(i) * sum_n) / static_cast<double>(shape.rows);
      store(t.dx, i, load(t.gamma, c) * load(t.inv_std, c) * centred);
    }
    add_to(t.dgamma, c, sum_n);
    add_to(t.dbeta, c, sum);
  }
}

void ReferenceBackend::layer_norm(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                                  DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) {
  const std::int64_t channels = gamma.size;
  require(x.size == rows * channels, "layer_norm: sizes differ");
  for (std::int64_t r = 0; r < rows; ++r) {
    const Moments m = moments(x, r * channels, 1, channels);
    const double scale = 1.0 / std::sqrt(m.variance + kEpsilon);
    store(mean, r, m.mean);
    store(inv_std, r, scale);
    for (std::int64_t c = 0; c < channels; ++c)
      store(y, r * channels + c, (load(x, r * channels + c) - m.mean) * scale * load(gamma, c) + load(beta, c));
  }
}

/// With n = (x - mean) inv_std and g = dy gamma: dx = inv_std (g - mean_C(g) - n mean_C(g n))
void ReferenceBackend::layer_norm_backward(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy,
                                           ConstDeviceSpan gamma, ConstDeviceSpan mean, ConstDeviceSpan inv_std,
                                           bool accumulate, DeviceSpan dx, DeviceSpan dgamma, DeviceSpan dbeta) {
  const std::int64_t channels = gamma.size;
  std::vector<double> sum_dy_n(static_cast<std::size_t>(channels)), sum_dy(static_cast<std::size_t>(channels));
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto at = [&](std::int64_t c) { return r * channels + c; };
    const auto normal = [&](std::int64_t c) { return (load(x, at(c)) - load(mean, r)) * load(inv_std, r); };
    double sum_g = 0.0, sum_g_n = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) {
      const double g = load(dy, at(c)) * load(gamma, c);
      sum_g += g;
      sum_g_n += g * normal(c);
      sum_dy_n[static_cast<std::size_t>(c)] += load(dy, at(c)) * normal(c);
      sum_dy[static_cast<std::size_t>(c)] += load(dy, at(c));
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      const double centred =
          load(dy, at(c)) * load(gamma, c) - (sum_g + normal(c) * sum_g_n) / static_cast<double>(channels);
      store(dx, at(c), load(inv_std, r) * centred + (accumulate ? load(dx, at(c)) : 0.0));
    }
  }
  for (std::int64_t c = 0; c < channels; ++c) {
    add_to(dgamma, c, sum_dy_n[static_cast<std::size_t>(c)]);
    add_to(dbeta, c, sum_dy[static_cast<std::size_t>(c)]);
  }
}

// --- sequence -------------------------------------------------------------------------------------------------------

void ReferenceBackend::embedding(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                 ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) {
  if (x.empty()) return;
  const std::int64_t width = x.size / (samples * positions);
  for (std::int64_t r = 0; r < samples * positions; ++r)
    for (std::int64_t c = 0; c < width; ++c)
      store(x, r * width + c,
            load(token_table, load_index(tokens, r) * width + c) + load(position_table, (r % positions) * width + c));
}

void ReferenceBackend::embedding_backward(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                          ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) {
  if (dx.empty()) return;
  const std::int64_t width = dx.size / (samples * positions);
  std::vector<double> dtoken(static_cast<std::size_t>(dtoken_table.size));
  std::vector<double> dposition(static_cast<std::size_t>(dposition_table.size));
  for (std::int64_t r = 0; r < samples * positions; ++r)
    for (std::int64_t c = 0; c < width; ++c) {
      dtoken[static_cast<std::size_t>(load_index(tokens, r) * width + c)] += load(dx, r * width + c);
      dposition[static_cast<std::size_t>((r % positions) * width + c)] += load(dx, r * width + c);
    }
  for (std::int64_t i = 0; i < dtoken_table.size; ++i) add_to(dtoken_table, i, dtoken[static_cast<std::size_t>(i)]);
  for (std::int64_t i = 0; i < dposition_table.size; ++i)
    add_to(dposition_table, i, dposition[static_cast<std::size_t>(i)]);
}

void ReferenceBackend::attention(const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y,
                                 DeviceSpan log_sum_exp) {
  require(qkv.size == 3 * y.size, "attention: sizes differ");
  for (std::int64_t b = 0; b < shape.samples; ++b)
    for (std::int64_t h = 0; h < shape.heads; ++h) attend({shape, b, h}, qkv, y, log_sum_exp);
}

void ReferenceBackend::attention_backward(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                                          ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  std::vector<double> sums(static_cast<std::size_t>(dqkv.size));
  for (std::int64_t b = 0; b < shape.samples; ++b)
    for (std::int64_t h = 0; h < shape.heads; ++h) attend_backward({shape, b, h}, qkv, y, dy, log_sum_exp, sums);
  for (std::int64_t i = 0; i < dqkv.size; ++i) store(dqkv, i, sums[static_cast<std::size_t>(i)]);
}

// --- loss -----------------------------------------------------------------------------------------------------------

void ReferenceBackend::softmax_cross_entropy(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                             DeviceSpan log_sum_exp, LossSums& sums) {
  if (rows == 0) return;
  const std::int64_t classes = logits.size / rows;
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<double> row;
    std::int64_t best = 0;
    for (std::int64_t v = 0; v < classes; ++v) {
      row.push_back(load(logits, r * classes + v));
      if (row.back() > row[static_cast<std::size_t>(best)]) best = v;
    }
    const double lse = log_sum_exp_of(row);
    store(log_sum_exp, r, lse);
    const std::int64_t target = load_index(targets, r);
    if (target < 0) continue;
    sums.loss += lse - row[static_cast<std::size_t>(target)];
    sums.rows += 1;
    sums.correct += best == target ? 1 : 0;
  }
}

void ReferenceBackend::softmax_cross_entropy_backward(std::int64_t rows, ConstDeviceSpan logits,
                                                      ConstDeviceSpan targets, ConstDeviceSpan log_sum_exp, float scale,
                                                      DeviceSpan dlogits) {
  if (rows == 0) return;
  const std::int64_t classes = logits.size / rows;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t target = load_index(targets, r);
    for (std::int64_t v = 0; v < classes; ++v) {
      const double p = std::exp(load(logits, r * classes + v) - load(log_sum_exp, r));
      const double onehot = v == target ? 1.0 : 0.0;
      store(dlogits, r * classes + v, target < 0 ? 0.0 : (p - onehot) * static_cast<double>(scale));
    }
  }
}

}  // namespace ballast
