// R = rows: samples x pixels, C = channels.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class BatchNorm final : public Operation {
 public:
  BatchNorm(Shape x, BatchNormTail tail)
      : shape_(std::move(x)), rows_(shape_.elements() / shape_.last()), tail_(tail) {}
  [[nodiscard]] const char* kind() const override { return "batch_norm"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override {
    const SavedTensor statistic{.elements = shape_.last(), .per_sample = false};
    return {.keeps_first_input = true,
            .keeps_output = tail_ == BatchNormTail::kAddAndRelu,
            .in_place = true,
            .gradient_in_place = true,
            .always_writes_gradient = true,
            .saved = {statistic, statistic, statistic}};
  }

  void forward(const Frame& f) const override {
    const BatchNormShape shape = shape_of(f);
    if (f.mode == Mode::kEvaluate) {
      f.backend.batch_norm_inference(shape, f.x[0], f.x[1], f.w[0], f.w[1], f.w[2], f.w[3], f.y);
    } else {
      f.backend.batch_norm(shape, f.x[0], f.x[1], f.w[0], f.w[1], f.y, f.saved[0], f.saved[1], f.saved[2]);
    }
  }

  void backward(const Frame& f) const override {
    const BatchNormShape shape = shape_of(f);
    f.backend.batch_norm_backward(shape, {.x = f.x[0],
                                          .y = f.y,
                                          .dy = f.dy,
                                          .gamma = f.w[0],
                                          .beta = f.w[1],
                                          .mean = f.saved[0],
                                          .inv_std = f.saved[1],
                                          .dx = f.dx[0],
                                          .dskip = f.dx[1],
                                          .dgamma = f.dw[0],
                                          .dbeta = f.dw[1]});
    const float weight = static_cast<float>(f.samples) * f.statistic_scale;
    // One row has no unbiased variance; its biased one, zero, stands in.
    const float unbiased = shape.rows > 1 ? static_cast<float>(shape.rows) / static_cast<float>(shape.rows - 1) : 1.0F;
    add_scaled(f, weight, f.saved[0], f.dw[2]);
    add_scaled(f, weight * unbiased, f.saved[2], f.dw[3]);
  }

 private:
  [[nodiscard]] BatchNormShape shape_of(const Frame& f) const {
    return {
        .rows = f.samples * rows_, .relu = tail_ != BatchNormTail::kNone, .skip = tail_ == BatchNormTail::kAddAndRelu};
  }

  /// sum += factor * x. A step of plain SGD with a negative learning rate is exactly this.
  static void add_scaled(const Frame& f, float factor, ConstDeviceSpan x, DeviceSpan sum) {
    UpdateRule rule;
    rule.kind = UpdateKind::kSgd;
    rule.lr = -factor;
    f.backend.update(rule, {.value = sum, .compute = {}, .gradient = x, .state = {}});
  }

  Shape shape_;
  std::int64_t rows_;
  BatchNormTail tail_;
};

}  // namespace

std::unique_ptr<Operation> batch_norm_operation(const Shape& x, BatchNormTail tail) {
  if (x.rank() == 0) throw Error("batch_norm: the input must have at least one axis");
  return std::make_unique<BatchNorm>(x, tail);
}

}  // namespace ballast
