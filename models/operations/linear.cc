// R = rows of one sample, B = samples, I = inputs, O = outputs.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class Linear final : public Operation {
 public:
  Linear(const Shape& x, std::int64_t outputs, LinearTail tail)
      : rows_(x.elements() / x.last()), inputs_(x.last()), outputs_(outputs), gelu_(tail == LinearTail::kGelu) {
    std::vector<std::int64_t> dims = x.dims();
    dims.back() = outputs;
    output_ = Shape(std::move(dims));
  }
  [[nodiscard]] const char* kind() const override { return gelu_ ? "linear_gelu" : "linear"; }
  [[nodiscard]] Shape output() const override { return output_; }
  [[nodiscard]] Traits traits() const override {
    const double flops = 2.0 * static_cast<double>(rows_ * inputs_) * static_cast<double>(outputs_);
    Traits traits{.keeps_inputs = true, .begins_weight = true, .flops = {flops, flops, flops}};
    if (gelu_) traits.saved = {{.elements = output_.elements(), .compute_type = true}};
    return traits;
  }

  /// h_RO = x_RI w_OI^T + b_O and y = h, or y = gelu(h) where evaluation does not keep h
  void forward(const Frame& f) const override {
    const MatmulShape shape{.m = f.samples * rows_, .n = outputs_, .k = inputs_, .transpose_b = true};
    if (!gelu_) return f.backend.matmul(shape, f.x[0], f.w[0], f.w[1], f.y);
    const DeviceSpan h = f.mode == Mode::kTrain ? f.saved[0] : DeviceSpan{};
    f.backend.matmul_gelu(shape, f.x[0], f.w[0], f.w[1], h, f.y);
  }

  /// dh = dy, or dy gelu'(h) in the memory of h; dw_OI += dh_RO^T x_RI, db_O += sum_R dh_RO, dx_RI = dh_RO w_OI
  void backward(const Frame& f) const override {
    const std::int64_t rows = f.samples * rows_;
    if (gelu_) f.backend.gelu_backward(f.saved[0], f.dy, f.saved[0]);
    const ConstDeviceSpan dh = gelu_ ? ConstDeviceSpan(f.saved[0]) : f.dy;
    f.backend.matmul({.m = outputs_, .n = inputs_, .k = rows, .transpose_a = true, .accumulate = !f.begin_weight}, dh,
                     f.x[0], {}, f.dw[0]);
    f.backend.bias_backward(rows, dh, f.dw[1]);
    if (!f.dx[0].empty()) f.backend.matmul({.m = rows, .n = inputs_, .k = outputs_}, dh, f.w[0], {}, f.dx[0]);
  }

 private:
  std::int64_t rows_, inputs_, outputs_;
  bool gelu_;
  Shape output_;
};

}  // namespace

std::unique_ptr<Operation> linear_operation(const Shape& x, std::int64_t outputs, LinearTail tail) {
  if (x.rank() == 0) throw Error("linear: the input must have at least one axis");
  return std::make_unique<Linear>(x, outputs, tail);
}

}  // namespace ballast
