// Srivastava et al. 2014. The mask is a pure function of its key, so backward draws it again instead of keeping it.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class Dropout final : public Operation {
 public:
  Dropout(Shape x, float rate) : shape_(std::move(x)), rate_(rate) {}
  [[nodiscard]] const char* kind() const override { return "dropout"; }
  [[nodiscard]] Shape output() const override { return shape_; }
  [[nodiscard]] Traits traits() const override { return {.in_place = true, .gradient_in_place = true}; }

  void forward(const Frame& f) const override {
    if (f.mode == Mode::kTrain) {
      f.backend.dropout(key_of(f), f.samples, f.x[0], f.y);
    } else if (f.x[0].data != f.y.data) {
      f.backend.convert(f.x[0], f.y);
    }
  }

  void backward(const Frame& f) const override { f.backend.dropout(key_of(f), f.samples, f.dy, f.dx[0]); }

 private:
  [[nodiscard]] DropoutKey key_of(const Frame& f) const {
    DropoutKey key = f.dropout;
    key.rate = rate_;
    return key;
  }

  Shape shape_;
  float rate_;
};

}  // namespace

std::unique_ptr<Operation> dropout_operation(const Shape& x, float rate) { return std::make_unique<Dropout>(x, rate); }

}  // namespace ballast
