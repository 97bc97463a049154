// Defines: UpdateRule, UpdateRun, UpdateSums: one elementwise optimizer update, as data.
//
// Legend: w = value, g = gradient, t = step counted from 1, lr = learning rate. For every element, in f32:
//   g' = gradient_scale * g + l2 * w + l1 * sign(w)
//   w  = w - lr * weight_decay * w              (decoupled decay, Loshchilov and Hutter 2019)
//   w  = w - lr * direction(g', state)          (below)
#pragma once

#include <array>
#include <cstdint>

#include "compute/tensor.h"

namespace ballast {

enum class UpdateKind : std::uint8_t {
  kSgd,       ///< no state. direction = g'
  kMomentum,  ///< state m. m = beta1 m + g'; direction = m
  kNesterov,  ///< state m. m = beta1 m + g'; direction = g' + beta1 m
  kAdaGrad,   ///< state v. v = v + g'^2; direction = g' / (sqrt(v) + epsilon)           (Duchi, Hazan and Singer 2011)
  kRmsProp,   ///< state v. v = beta2 v + (1 - beta2) g'^2; direction = g' / (sqrt(v) + epsilon)   (Tieleman and Hinton
              ///< 2012)
  kAdam,  ///< states m, v. direction = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)  (Kingma and Ba 2015)
  kAverage,  ///< no state. w = w + (1 - beta1) (g - w): running statistics. No decay, scale or learning rate
};

struct UpdateRule {
  UpdateKind kind = UpdateKind::kSgd;
  float lr = 0.0F;
  float gradient_scale = 1.0F;  ///< clipping
  float weight_decay = 0.0F, l1 = 0.0F, l2 = 0.0F;
  float beta1 = 0.0F, beta2 = 0.0F, epsilon = 0.0F;
  float correction1 = 1.0F, correction2 = 1.0F;  ///< 1 / (1 - beta1^t), 1 / (1 - beta2^t)
  bool want_sums = false;
};

/// One run of neighbouring elements: all spans have one size; `compute` (bf16) and the states may be empty.
struct UpdateRun {
  DeviceSpan value;                 ///< f32 master values
  DeviceSpan compute;               ///< bf16 copy to refresh in the same pass, or empty
  ConstDeviceSpan gradient;         ///< f32
  std::array<DeviceSpan, 2> state;  ///< f32, as many as the kind has: {m}, {v} or {m, v}
};

struct UpdateSums {
  double value_squares = 0.0;   ///< sum of w^2 after the update
  double change_squares = 0.0;  ///< sum of (w_new - w_old)^2
};

}  // namespace ballast
