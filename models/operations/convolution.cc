// Y, X = rows and columns, I = input channels, O = output channels, K = kernel edge.
#include "models/operations/operations.h"

namespace ballast {
namespace {

class Convolution final : public Operation {
 public:
  explicit Convolution(ConvShape shape) : shape_(shape) {}
  [[nodiscard]] const char* kind() const override { return "convolution"; }
  [[nodiscard]] Shape output() const override { return {shape_.out_rows(), shape_.out_columns(), shape_.outputs}; }
  [[nodiscard]] Traits traits() const override {
    const double products = static_cast<double>(output().elements() * shape_.inputs * shape_.kernel * shape_.kernel);
    return {.keeps_inputs = true, .flops = {2 * products, 2 * products, 2 * products}};
  }

  void forward(const Frame& f) const override { f.backend.conv2d(of(f), f.x[0], f.w[0], f.y); }

  void backward(const Frame& f) const override {
    f.backend.conv2d_backward_weights(of(f), f.x[0], f.dy, f.dw[0]);
    if (!f.dx[0].empty()) f.backend.conv2d_backward_data(of(f), f.dy, f.w[0], f.dx[0]);
  }

 private:
  [[nodiscard]] ConvShape of(const Frame& f) const {
    ConvShape shape = shape_;
    shape.samples = f.samples;
    return shape;
  }

  ConvShape shape_;
};

}  // namespace

std::unique_ptr<Operation> convolution_operation(const Shape& x, std::int64_t outputs, std::int64_t kernel,
                                                 std::int64_t stride) {
  if (x.rank() != 3)
    throw Error("convolution: the input must be an image [rows, columns, channels], not " + x.to_string());
  return std::make_unique<Convolution>(ConvShape{.rows = x[0],
                                                 .columns = x[1],
                                                 .inputs = x[2],
                                                 .outputs = outputs,
                                                 .kernel = kernel,
                                                 .stride = stride,
                                                 .pad = kernel / 2});
}

}  // namespace ballast
