#include "models/operations/operations.h"

namespace ballast {
namespace {

class Convert final : public Operation {
 public:
  explicit Convert(Shape x) : shape_(std::move(x)) {}
  [[nodiscard]] const char* kind() const override { return "convert"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override { return {.in_place = true}; }
  void forward(const Frame& f) const override {
    if (f.x[0].data != f.y.data) f.backend.convert(f.x[0], f.y);
  }
  void backward(const Frame& /*frame*/) const override { throw Error("convert has no backward: its input is data"); }

 private:
  Shape shape_;
};

}  // namespace

std::unique_ptr<Operation> convert_operation(const Shape& x) { return std::make_unique<Convert>(x); }

}  // namespace ballast
