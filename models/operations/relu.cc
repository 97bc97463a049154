#include "models/operations/operations.h"

namespace ballast {
namespace {

class Relu final : public Operation {
 public:
  explicit Relu(Shape x) : shape_(std::move(x)) {}
  [[nodiscard]] const char* kind() const override { return "relu"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override {
    return {.keeps_output = true, .in_place = true, .gradient_in_place = true};
  }
  void forward(const Frame& f) const override { f.backend.relu(f.x[0], f.y); }
  void backward(const Frame& f) const override { f.backend.relu_backward(f.y, f.dy, f.dx[0]); }

 private:
  Shape shape_;
};

}  // namespace

std::unique_ptr<Operation> relu_operation(const Shape& x) { return std::make_unique<Relu>(x); }

}  // namespace ballast
