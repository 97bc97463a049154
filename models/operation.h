// Defines: Frame, SavedTensor, Flops, Traits, Operation.
//
// An operation is a forward/backward pair over shapes that are fixed when the graph is built. It owns no memory and
// keeps no state: everything it reads and writes in a pass stands in its Frame. Shapes are those of one sample; a pass
// brings 1 ... max_samples.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "compute/backend.h"
#include "models/model.h"

namespace ballast {

constexpr std::size_t kMaxInputs = 2;
constexpr std::size_t kMaxSaved = 3;
constexpr std::size_t kMaxParameters = 4;

/// What one operation sees of one pass. Spans cover the samples of the pass. Legend: x input, y output, w parameter, d
/// gradient.
struct Frame {
  Backend& backend;
  Mode mode = Mode::kTrain;
  std::int64_t samples = 0;
  std::array<ConstDeviceSpan, kMaxInputs> x;
  DeviceSpan y;  ///< in backward only for operations that keep their output
  std::array<DeviceSpan, kMaxSaved> saved;
  std::array<ConstDeviceSpan, kMaxParameters> w;

  // backward only
  ConstDeviceSpan dy;
  std::array<DeviceSpan, kMaxInputs> dx;      ///< assign; empty where nobody wants it
  bool accumulate = false;                    ///< add to dx[0] instead of assigning
  std::array<DeviceSpan, kMaxParameters> dw;  ///< add
  bool begin_weight = false;                  ///< assign dw[0], which holds nothing yet
  float loss_scale = 1.0F;
  float statistic_scale = 1.0F;

  DeviceSpan scratch;        ///< Operation::scratch_elements(samples) in the compute type; keeps nothing between calls
  DropoutKey dropout;        ///< rate is the operation's to fill in
  LossSums* loss = nullptr;  ///< the loss operation adds its sums; in backward too where its traits say so
};

/// A side tensor that forward leaves for backward (means, log-sum-exp): f32, or f64 in f64 graphs. Backward may
/// overwrite it.
struct SavedTensor {
  std::int64_t elements = 0;
  bool per_sample = true;     ///< false: one for the whole pass
  bool compute_type = false;  ///< of the graph's compute type instead
};

/// Floating-point operations for one sample, a multiply-add counting two.
struct Flops {
  double forward = 0.0;
  double weights = 0.0;  ///< backward: gradients of the parameters
  double data = 0.0;     ///< backward: gradient of the input
};

/// What the planner must know about an operation.
struct Traits {
  bool keeps_inputs = false;               ///< backward reads x
  bool keeps_first_input = false;          ///< backward reads x[0]
  bool keeps_output = false;               ///< backward reads y
  bool in_place = false;                   ///< y may be the memory of x[0]
  bool gradient_in_place = false;          ///< dx[0] may be the memory of dy
  bool gradient_overwrites_input = false;  ///< dx[0] may be the memory of x[0]
  bool passes_gradient = false;   ///< dx[i] equals dy for every input: the planner aliases it, backward() is not called
  bool accumulates = false;       ///< honours Frame::accumulate
  bool begins_weight = false;     ///< honours Frame::begin_weight; else dw[0] is cleared before
  bool loss_in_backward = false;  ///< backward() finds the loss as well: where both are wanted, forward() need not run
  bool always_writes_gradient = false;   ///< backward needs a dx[0] even where nobody wants it
  bool backward_without_values = false;  ///< backward does not read w
  std::vector<SavedTensor> saved;
  Flops flops;

  [[nodiscard]] bool keeps_input(std::size_t i) const { return keeps_inputs || (keeps_first_input && i == 0); }
};

/// What follows a linear layer in the same pass over memory.
enum class LinearTail : std::uint8_t { kNone, kGelu };

class Operation {
 public:
  virtual ~Operation() = default;
  [[nodiscard]] virtual const char* kind() const = 0;  ///< "linear"
  [[nodiscard]] virtual Shape output() const = 0;      ///< of one sample; ignored for the loss
  [[nodiscard]] virtual Traits traits() const = 0;
  /// Elements of Frame::scratch for a pass with `samples` samples; never falls as they grow.
  [[nodiscard]] virtual std::int64_t scratch_elements([[maybe_unused]] std::int64_t samples) const { return 0; }
  virtual void forward(const Frame& frame) const = 0;
  virtual void backward(const Frame& frame) const = 0;
  /// Of a loss operation: logits of one row of the last forward, as f32 or in the compute type.
  [[nodiscard]] virtual ConstDeviceSpan logits(const Frame& frame, std::int64_t row) const;
};

}  // namespace ballast
