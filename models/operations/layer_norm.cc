// R = rows of one sample.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class LayerNorm final : public Operation {
 public:
  explicit LayerNorm(Shape x) : shape_(std::move(x)), rows_(shape_.elements() / shape_.last()) {}
  [[nodiscard]] const char* kind() const override { return "layer_norm"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override {
    return {.keeps_inputs = true,
            .accumulates = true,
            .always_writes_gradient = true,
            .saved = {{.elements = rows_}, {.elements = rows_}}};
  }

  void forward(const Frame& f) const override {
    f.backend.layer_norm(f.samples * rows_, f.x[0], f.w[0], f.w[1], f.y, f.saved[0], f.saved[1]);
  }

  void backward(const Frame& f) const override {
    f.backend.layer_norm_backward(f.samples * rows_, f.x[0], f.dy, f.w[0], f.saved[0], f.saved[1], f.accumulate,
                                  f.dx[0], f.dw[0], f.dw[1]);
  }

 private:
  Shape shape_;
  std::int64_t rows_;
};

}  // namespace

std::unique_ptr<Operation> layer_norm_operation(const Shape& x) {
  if (x.rank() == 0) throw Error("layer_norm: the input must have at least one axis");
  return std::make_unique<LayerNorm>(x);
}

}  // namespace ballast
