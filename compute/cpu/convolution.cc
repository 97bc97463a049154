#include "compute/cpu/convolution.h"

#include <algorithm>
#include <bit>

#include "compute/cpu/kernels.h"
#include "compute/cpu/parts.h"
#include "compute/error.h"

namespace ballast {

namespace {

constexpr std::int64_t kBlockWork = 8'000'000;  ///< multiplications: some 80 microseconds
constexpr std::int64_t kBlockPixels = 256;      ///< output pixels for which a block reads the weights
constexpr std::int64_t kGradientPixels = 1024;  ///< output pixels for which a block writes a gradient of the weights
constexpr std::int64_t kMostBlocks = 64;
constexpr std::int64_t kMostGradients = 16;
constexpr std::int64_t kGradientBytes = std::int64_t{128} << 20;  ///< of all blocks' gradients of the weights together

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t weights_in(const ConvShape& shape) { return shape.outputs * shape.inputs * shape.kernel * shape.kernel; }

std::int64_t count_blocks(ConvPass pass, const ConvShape& shape) {
  const std::int64_t pixels = shape.samples * shape.out_rows() * shape.out_columns();
  std::int64_t most = std::min(kMostBlocks, pixels / kBlockPixels);
  if (pass == ConvPass::kBackwardWeights) {
    const std::int64_t bytes = weights_in(shape) * size_of(DType::kF32);
    most = std::min({kMostGradients, pixels / kGradientPixels, std::max<std::int64_t>(2, kGradientBytes / bytes)});
  }
  const std::int64_t by_work = pixels * weights_in(shape) / kBlockWork;
  const std::int64_t count = std::clamp<std::int64_t>(std::min(most, by_work), 1, shape.samples);
  // A power of two cuts the usual batches evenly.
  return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(count)));
}

void check(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, ConstDeviceSpan y) {
  require(shape.samples >= 0 && shape.inputs >= 1 && shape.outputs >= 1 && shape.kernel >= 1 && shape.stride >= 1 &&
              shape.pad >= 0 && shape.rows + 2 * shape.pad >= shape.kernel &&
              shape.columns + 2 * shape.pad >= shape.kernel,
          "conv2d: a dimension is out of range, or the kernel is larger than the padded image");
  require(x.size == shape.samples * shape.rows * shape.columns * shape.inputs &&
              y.size == shape.samples * shape.out_rows() * shape.out_columns() * shape.outputs &&
              w.size == weights_in(shape),
          "conv2d: a tensor's size differs from its shape");
  require(x.dtype == y.dtype && (w.dtype == x.dtype || w.dtype == DType::kF32), "conv2d: tensors must have one type");
}

/// Rounded up, so that a second layout may follow.
std::int64_t packed_bytes(const ConvKernel& kernel) {
  return ceil_div(static_cast<std::int64_t>(kernel.packed_w.get_size()), 64) * 64;
}

/// The samples of one block out of a tensor of `samples` samples.
const void* block_of(ConstDeviceSpan tensor, std::int64_t samples, std::int64_t first) {
  return tensor.subspan(tensor.size / samples * first, 0).data;
}

}  // namespace

Convolution::Blocks Convolution::blocks_of(ConvPass pass, const ConvShape& shape, DType dtype) {
  const auto kernel_of = [&](std::int64_t samples) {
    const ConvKey key{pass,         dtype,         samples,      shape.rows,   shape.columns,
                      shape.inputs, shape.outputs, shape.kernel, shape.stride, shape.pad};
    return kernels_.get(key, [&] { return make_conv_kernel(workspaces_.engine(), key); });
  };
  Blocks blocks;
  blocks.samples = ceil_div(shape.samples, count_blocks(pass, shape));
  blocks.count = ceil_div(shape.samples, blocks.samples);
  blocks.whole = kernel_of(blocks.samples);
  blocks.last = kernel_of(shape.samples - (blocks.count - 1) * blocks.samples);
  return blocks;
}

Convolution::Widened Convolution::widen(ConstDeviceSpan a, ConstDeviceSpan b, std::int64_t out_size) {
  const std::int64_t total = a.size + b.size + out_size;
  const DeviceSpan all{widened_.at_least(total * size_of(DType::kF32)), total, DType::kF32};
  const Widened wide{all.subspan(0, a.size), all.subspan(a.size, b.size), all.subspan(a.size + b.size, out_size)};
  convert(pool_, a, wide.a);
  convert(pool_, b, wide.b);
  return wide;
}

void Convolution::forward(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  check(shape, x, w, y);
  if (shape.samples == 0) return;
  const Blocks blocks = blocks_of(ConvPass::kForward, shape, x.dtype);
  if (x.dtype == DType::kF32 || blocks.fast()) {
    return run_samples(ConvPass::kForward, blocks, shape.samples, x, w, y);
  }
  const Widened wide = widen(x, w, y.size);
  forward(shape, wide.a, wide.b, wide.out);
  convert(pool_, wide.out, y);
}

void Convolution::backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx) {
  check(shape, dx, w, dy);
  if (shape.samples == 0) return;
  const Blocks blocks = blocks_of(ConvPass::kBackwardData, shape, dy.dtype);
  if (dy.dtype == DType::kF32 || blocks.fast()) {
    return run_samples(ConvPass::kBackwardData, blocks, shape.samples, dx, w, dy);
  }
  const Widened wide = widen(dy, w, dx.size);
  backward_data(shape, wide.a, wide.b, wide.out);
  convert(pool_, wide.out, dx);
}

void Convolution::backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dw) {
  require(dw.dtype == DType::kF32, "conv2d: the gradient of the weights is f32");
  check(shape, x, dw, dy);
  if (shape.samples == 0) return;
  const Blocks blocks = blocks_of(ConvPass::kBackwardWeights, shape, x.dtype);
  if (x.dtype == DType::kF32 || blocks.fast()) return run_weights(blocks, shape.samples, x, dy, dw);
  const Widened wide = widen(x, dy, 0);
  backward_weights(shape, wide.a, wide.b, dw);
}

void Convolution::run_samples(ConvPass pass, const Blocks& blocks, std::int64_t samples, ConstDeviceSpan x,
                              ConstDeviceSpan w, ConstDeviceSpan y) {
  // oneDNN may like another layout of the weights for the shorter block at the end.
  const bool one_layout = blocks.whole.packed_w == blocks.last.packed_w;
  const std::int64_t bytes = packed_bytes(blocks.whole);
  std::byte* packed = weights_.at_least(bytes + (one_layout ? 0 : packed_bytes(blocks.last)));
  std::byte* packed_last = one_layout ? packed : packed + bytes;
  const auto reorder = [&](const ConvKernel& kernel, std::byte* to) {
    execute(kernel.reorder, *workspaces_.lend(),
            {{DNNL_ARG_FROM, kernel.plain_w, w.data}, {DNNL_ARG_TO, kernel.packed_w, to}});
  };
  reorder(blocks.whole, packed);
  if (!one_layout) reorder(blocks.last, packed_last);
  pool_.run(blocks.count, [&](std::int64_t block) {
    const std::int64_t first = block * blocks.samples;
    execute(blocks.at(block), pass, *workspaces_.lend(), block_of(x, samples, first),
            block + 1 < blocks.count ? packed : packed_last, block_of(y, samples, first));
  });
}

void Convolution::run_weights(const Blocks& blocks, std::int64_t samples, ConstDeviceSpan x, ConstDeviceSpan dy,
                              DeviceSpan dw) {
  const DeviceSpan gradients{weights_.at_least(blocks.count * dw.bytes()), blocks.count * dw.size, DType::kF32};
  pool_.run(blocks.count, [&](std::int64_t block) {
    const auto workspace = workspaces_.lend();
    const ConvKernel& kernel = blocks.at(block);
    const std::int64_t first = block * blocks.samples;
    std::byte* packed = workspace->results.at_least(packed_bytes(kernel));
    execute(kernel, ConvPass::kBackwardWeights, *workspace, block_of(x, samples, first), packed,
            block_of(dy, samples, first));
    execute(kernel.reorder, *workspace,
            {{DNNL_ARG_FROM, kernel.packed_w, packed},
             {DNNL_ARG_TO, kernel.plain_w, gradients.subspan(block * dw.size, dw.size).data}});
  });
  add_parts(pool_, gradients, true, dw);
}

}  // namespace ballast
