#include "models/operations/operations.h"

namespace ballast {
namespace {

class Gelu final : public Operation {
 public:
  explicit Gelu(Shape x) : shape_(std::move(x)) {}
  [[nodiscard]] const char* kind() const override { return "gelu"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override { return {.keeps_inputs = true, .gradient_in_place = true}; }
  void forward(const Frame& f) const override { f.backend.gelu(f.x[0], f.y); }
  void backward(const Frame& f) const override { f.backend.gelu_backward(f.x[0], f.dy, f.dx[0]); }

 private:
  Shape shape_;
};

}  // namespace

std::unique_ptr<Operation> gelu_operation(const Shape& x) { return std::make_unique<Gelu>(x); }

}  // namespace ballast
