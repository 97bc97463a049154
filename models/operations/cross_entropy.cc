// R = rows of one sample, V = classes.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class CrossEntropy final : public Operation {
 public:
  CrossEntropy(std::int64_t rows, std::int64_t classes) : rows_(rows), classes_(classes) {}
  [[nodiscard]] const char* kind() const override { return "cross_entropy"; }
  [[nodiscard]] Shape output() const override { return {}; }
  [[nodiscard]] Traits traits() const override {
    return {.keeps_inputs = true, .gradient_overwrites_input = true, .saved = {{.elements = rows_}}};
  }

  void forward(const Frame& f) const override {
    f.backend.softmax_cross_entropy(f.samples * rows_, f.x[0], f.x[1], f.saved[0], *f.loss);
  }

  void backward(const Frame& f) const override {
    f.backend.softmax_cross_entropy_backward(f.samples * rows_, f.x[0], f.x[1], f.saved[0], f.loss_scale, f.dx[0]);
  }

  [[nodiscard]] ConstDeviceSpan logits(const Frame& f, std::int64_t row) const override {
    return f.x[0].subspan(row * classes_, classes_);
  }

 private:
  std::int64_t rows_, classes_;
};

}  // namespace

std::unique_ptr<Operation> cross_entropy_operation(const Shape& logits, const Shape& targets) {
  if (logits.rank() == 0 || logits.elements() / logits.last() != targets.elements()) {
    throw Error("cross_entropy: logits " + logits.to_string() + " and targets " + targets.to_string() + " do not fit");
  }
  return std::make_unique<CrossEntropy>(targets.elements(), logits.last());
}

}  // namespace ballast
