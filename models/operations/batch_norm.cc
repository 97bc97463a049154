// R = rows: samples x pixels, C = channels.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class BatchNorm final : public Operation {
 public:
  explicit BatchNorm(Shape x) : shape_(std::move(x)), rows_(shape_.elements() / shape_.last()) {}
  [[nodiscard]] const char* kind() const override { return "batch_norm"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override {
    const SavedTensor statistic{.elements = shape_.last(), .per_sample = false};
    return {.keeps_inputs = true, .always_writes_gradient = true, .saved = {statistic, statistic, statistic}};
  }

  void forward(const Frame& f) const override {
    const std::int64_t rows = f.samples * rows_;
    if (f.mode == Mode::kEvaluate) {
      f.backend.batch_norm_inference(rows, f.x[0], f.w[0], f.w[1], f.w[2], f.w[3], f.y);
    } else {
      f.backend.batch_norm(rows, f.x[0], f.w[0], f.w[1], f.y, f.saved[0], f.saved[1], f.saved[2]);
    }
  }

  void backward(const Frame& f) const override {
    const std::int64_t rows = f.samples * rows_;
    f.backend.batch_norm_backward(rows, f.x[0], f.dy, f.w[0], f.saved[0], f.saved[1], f.dx[0], f.dw[0], f.dw[1]);
    const float weight = static_cast<float>(f.samples) * f.statistic_scale;
    // One row has no unbiased variance; its biased one, zero, stands in.
    const float unbiased = rows > 1 ? static_cast<float>(rows) / static_cast<float>(rows - 1) : 1.0F;
    add_scaled(f, weight, f.saved[0], f.dw[2]);
    add_scaled(f, weight * unbiased, f.saved[2], f.dw[3]);
  }

 private:
  /// sum += factor * x. A step of plain SGD with a negative learning rate is exactly this.
  static void add_scaled(const Frame& f, float factor, ConstDeviceSpan x, DeviceSpan sum) {
    UpdateRule rule;
    rule.kind = UpdateKind::kSgd;
    rule.lr = -factor;
    f.backend.update(rule, {.value = sum, .compute = {}, .gradient = x, .state = {}});
  }

  Shape shape_;
  std::int64_t rows_;
};

}  // namespace

std::unique_ptr<Operation> batch_norm_operation(const Shape& x) {
  if (x.rank() == 0) throw Error("batch_norm: the input must have at least one axis");
  return std::make_unique<BatchNorm>(x);
}

}  // namespace ballast
