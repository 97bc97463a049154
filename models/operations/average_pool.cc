#include "models/operations/operations.h"

namespace ballast {
namespace {

class AveragePool final : public Operation {
 public:
  explicit AveragePool(const Shape& x) : pixels_(x[0] * x[1]), channels_(x[2]) {}
  [[nodiscard]] const char* kind() const override { return "average_pool"; }
  [[nodiscard]] Shape output() const override { return {channels_}; }
  [[nodiscard]] Traits traits() const override { return {}; }
  void forward(const Frame& f) const override { f.backend.average_pool(f.samples, pixels_, f.x[0], f.y); }
  void backward(const Frame& f) const override { f.backend.average_pool_backward(f.samples, pixels_, f.dy, f.dx[0]); }

 private:
  std::int64_t pixels_, channels_;
};

}  // namespace

std::unique_ptr<Operation> average_pool_operation(const Shape& x) {
  if (x.rank() != 3)
    throw Error("average_pool: the input must be an image [rows, columns, channels], not " + x.to_string());
  return std::make_unique<AveragePool>(x);
}

}  // namespace ballast
