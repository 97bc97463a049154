// R = rows of one sample, B = samples, I = inputs, O = outputs.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class Linear final : public Operation {
 public:
  Linear(const Shape& x, std::int64_t outputs) : rows_(x.elements() / x.last()), inputs_(x.last()), outputs_(outputs) {
    std::vector<std::int64_t> dims = x.dims();
    dims.back() = outputs;
    output_ = Shape(std::move(dims));
  }
  [[nodiscard]] const char* kind() const override { return "linear"; }
  [[nodiscard]] Shape output() const override { return output_; }
  [[nodiscard]] Traits traits() const override {
    const double flops = 2.0 * static_cast<double>(rows_ * inputs_) * static_cast<double>(outputs_);
    return {.keeps_inputs = true, .begins_weight = true, .flops = {flops, flops, flops}};
  }

  /// y_RO = x_RI w_OI^T + b_O
  void forward(const Frame& f) const override {
    const MatmulShape shape{.m = f.samples * rows_, .n = outputs_, .k = inputs_, .transpose_b = true};
    f.backend.matmul(shape, f.x[0], f.w[0], f.w[1], f.y);
  }

  /// dw_OI += dy_RO^T x_RI, db_O += sum_R dy_RO, dx_RI = dy_RO w_OI
  void backward(const Frame& f) const override {
    const std::int64_t rows = f.samples * rows_;
    f.backend.matmul({.m = outputs_, .n = inputs_, .k = rows, .transpose_a = true, .accumulate = !f.begin_weight}, f.dy,
                     f.x[0], {}, f.dw[0]);
    f.backend.bias_backward(rows, f.dy, f.dw[1]);
    if (!f.dx[0].empty()) f.backend.matmul({.m = rows, .n = inputs_, .k = outputs_}, f.dy, f.w[0], {}, f.dx[0]);
  }

 private:
  std::int64_t rows_, inputs_, outputs_;
  Shape output_;
};

}  // namespace

std::unique_ptr<Operation> linear_operation(const Shape& x, std::int64_t outputs) {
  if (x.rank() == 0) throw Error("linear: the input must have at least one axis");
  return std::make_unique<Linear>(x, outputs);
}

}  // namespace ballast
