// R = rows of one sample, C = width, V = classes, N = rows of a block.
#include <algorithm>

#include "models/operations/operations.h"

namespace ballast {
namespace {

constexpr std::int64_t kBlockLogits = std::int64_t{1} << 24;  ///< of a block: 32 MiB in bf16
constexpr std::int64_t kLeastRows = 256;  ///< every block reads all weights and adds to all of their gradients

/// Rows are taken in blocks, so that logits of one block exist at a time. Backward makes the logits that forward threw
/// away; where both are wanted at once, backward does the work of forward on the way.
class LinearCrossEntropy final : public Operation {
 public:
  LinearCrossEntropy(const Shape& x, std::int64_t classes, std::int64_t most_rows)
      : rows_(x.elements() / x.last()),
        width_(x.last()),
        classes_(classes),
        most_rows_(most_rows > 0 ? most_rows : std::max(kLeastRows, kBlockLogits / classes)) {}
  [[nodiscard]] const char* kind() const override { return "linear_cross_entropy"; }
  [[nodiscard]] Shape output() const override { return {}; }
  [[nodiscard]] Traits traits() const override {
    const double flops = 2.0 * static_cast<double>(rows_ * width_) * static_cast<double>(classes_);
    return {.keeps_inputs = true,
            .begins_weight = true,
            .loss_in_backward = true,
            .saved = {{.elements = rows_}},
            .flops = {flops, flops, flops}};
  }
  [[nodiscard]] std::int64_t scratch_elements(std::int64_t samples) const override {
    return block_rows(samples * rows_) * classes_;
  }

  void forward(const Frame& f) const override {
    for_blocks(f, [&](const Block& b) { add_loss(f, b); });
  }

  /// dlogits_NV = softmax cross-entropy's; dw_VC += dlogits' x, dx_NC = dlogits w
  void backward(const Frame& f) const override {
    for_blocks(f, [&](const Block& b) {
      add_loss(f, b);
      f.backend.softmax_cross_entropy_backward(b.rows, b.logits, b.targets, b.log_sum_exp, f.loss_scale, b.logits);
      const bool accumulate = !f.begin_weight || b.first > 0;
      f.backend.matmul({.m = classes_, .n = width_, .k = b.rows, .transpose_a = true, .accumulate = accumulate},
                       b.logits, b.x, {}, f.dw[0]);
      f.backend.matmul({.m = b.rows, .n = width_, .k = classes_}, b.logits, f.w[0], {},
                       f.dx[0].subspan(b.first * width_, b.rows * width_));
    });
  }

  [[nodiscard]] ConstDeviceSpan logits(const Frame& f, std::int64_t row) const override {
    const DeviceSpan logits = f.scratch.subspan(0, classes_);
    f.backend.matmul({.m = 1, .n = classes_, .k = width_, .transpose_b = true}, f.x[0].subspan(row * width_, width_),
                     f.w[0], {}, logits);
    return logits;
  }

 private:
  struct Block {
    std::int64_t first = 0, rows = 0;
    ConstDeviceSpan x, targets;
    DeviceSpan log_sum_exp, logits;
  };

  /// By shape alone; the blocks of a pass are nearly equal.
  [[nodiscard]] std::int64_t block_rows(std::int64_t rows) const {
    const std::int64_t blocks = (rows + most_rows_ - 1) / most_rows_;
    return (rows + blocks - 1) / blocks;
  }

  template <class Body>
  void for_blocks(const Frame& f, const Body& body) const {
    const std::int64_t rows = f.samples * rows_;
    const std::int64_t most = block_rows(rows);
    for (std::int64_t first = 0; first < rows; first += most) {
      const std::int64_t count = std::min(most, rows - first);
      body(Block{first, count, f.x[0].subspan(first * width_, count * width_), f.x[1].subspan(first, count),
                 f.saved[0].subspan(first, count), f.scratch.subspan(0, count * classes_)});
    }
  }

  void add_loss(const Frame& f, const Block& b) const {
    f.backend.matmul({.m = b.rows, .n = classes_, .k = width_, .transpose_b = true}, b.x, f.w[0], {}, b.logits);
    f.backend.softmax_cross_entropy(b.rows, b.logits, b.targets, b.log_sum_exp, *f.loss);
  }

  std::int64_t rows_, width_, classes_;
  std::int64_t most_rows_;  // of a block
};

}  // namespace

std::unique_ptr<Operation> linear_cross_entropy_operation(const Shape& x, const Shape& weight, const Shape& targets,
                                                          std::int64_t most_rows) {
  if (x.rank() == 0 || weight.rank() != 2 || weight[1] != x.last()) {
    throw Error("linear_cross_entropy: input " + x.to_string() + " does not fit the weight " + weight.to_string());
  }
  if (x.elements() / x.last() != targets.elements()) {
    throw Error("linear_cross_entropy: input " + x.to_string() + " and targets " + targets.to_string() + " do not fit");
  }
  return std::make_unique<LinearCrossEntropy>(x, weight[0], most_rows);
}

}  // namespace ballast
