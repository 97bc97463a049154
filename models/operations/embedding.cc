// T = positions, V = vocabulary, C = width.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class Embedding final : public Operation {
 public:
  explicit Embedding(Shape output) : output_(std::move(output)) {}
  [[nodiscard]] const char* kind() const override { return "embedding"; }
  [[nodiscard]] Shape output() const override { return output_; }
  [[nodiscard]] Traits traits() const override { return {.keeps_inputs = true, .backward_without_values = true}; }

  void forward(const Frame& f) const override {
    f.backend.embedding(f.samples, output_[0], f.x[0], f.w[0], f.w[1], f.y);
  }

  void backward(const Frame& f) const override {
    f.backend.embedding_backward(f.samples, output_[0], f.x[0], f.dy, f.dw[0], f.dw[1]);
  }

 private:
  Shape output_;  // [T, C]
};

}  // namespace

std::unique_ptr<Operation> embedding_operation(const Shape& tokens, const Shape& token_table,
                                               const Shape& position_table) {
  const bool tables = token_table.rank() == 2 && position_table.rank() == 2 && token_table[1] == position_table[1];
  if (!tables || tokens.rank() != 1 || tokens[0] != position_table[0]) {
    throw Error("embedding: tokens " + tokens.to_string() + " do not fit the tables " + token_table.to_string() +
                " and " + position_table.to_string());
  }
  return std::make_unique<Embedding>(position_table);
}

}  // namespace ballast
