// T = positions, C = width, H = heads, D = C / H.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class Attention final : public Operation {
 public:
  Attention(std::int64_t positions, std::int64_t heads, std::int64_t head_width)
      : positions_(positions), heads_(heads), head_width_(head_width) {}
  [[nodiscard]] const char* kind() const override { return "attention"; }
  [[nodiscard]] Shape output() const override { return {positions_, heads_ * head_width_}; }
  [[nodiscard]] Traits traits() const override {
    // q k^T and p v over the T (T + 1) / 2 pairs that causality leaves; backward forms four such products.
    const double pairs = 0.5 * static_cast<double>(positions_) * static_cast<double>(positions_ + 1);
    const double flops = 4.0 * pairs * static_cast<double>(heads_ * head_width_);
    return {.keeps_inputs = true,
            .keeps_output = true,
            .saved = {{.elements = heads_ * positions_}},
            .flops = {flops, 0.0, 2.0 * flops}};
  }

  void forward(const Frame& f) const override { f.backend.attention(of(f), f.x[0], f.y, f.saved[0]); }
  void backward(const Frame& f) const override {
    f.backend.attention_backward(of(f), f.x[0], f.y, f.dy, f.saved[0], f.dx[0]);
  }

 private:
  [[nodiscard]] AttentionShape of(const Frame& f) const { return {f.samples, positions_, heads_, head_width_}; }

  std::int64_t positions_, heads_, head_width_;
};

}  // namespace

std::unique_ptr<Operation> attention_operation(const Shape& qkv, std::int64_t heads) {
  if (qkv.rank() != 2 || heads < 1 || qkv[1] % (3 * heads) != 0) {
    throw Error("attention: [q | k | v] of shape " + qkv.to_string() + " does not split into " + std::to_string(heads) +
                " heads");
  }
  return std::make_unique<Attention>(qkv[0], heads, qkv[1] / (3 * heads));
}

}  // namespace ballast
