// Defines: ConvKey, ConvKernel, make_conv_kernel: a oneDNN convolution of one block of samples.
//
// Axes: B = samples, Y / X = rows / columns, I / O = inputs / outputs, K = kernel edge. Images are BYXC, weights OIKK.
#pragma once

#include <compare>

#include "compute/backend.h"
#include "compute/cpu/onednn.h"

namespace ballast {

/// Everything that a kernel depends on.
struct ConvKey {
  ConvPass pass = ConvPass::kForward;
  DType dtype = DType::kF32;
  std::int64_t samples = 0, rows = 0, columns = 0, inputs = 0, outputs = 0, kernel = 0, stride = 0, pad = 0;
  auto operator<=>(const ConvKey&) const = default;
};

struct ConvKernel {
  OneDnnKernel convolution;
  OneDnnKernel reorder;  ///< of the weights from OIKK to `packed_w`; of their gradient, the other way
  dnnl::memory::desc x, y, plain_w, packed_w;
  bool fast = false;
};

/// For images of `shape` of type `dtype`; `samples` of them at once. Throws Error where oneDNN has no such convolution
/// in f32.
[[nodiscard]] ConvKernel make_conv_kernel(const dnnl::engine& engine, const ConvKey& key);

/// Runs on the calling thread. `w` is in the layout `kernel.packed_w`; x, w or y is written, as the pass says.
void execute(const ConvKernel& kernel, ConvPass pass, Workspace& workspace, const void* x, const void* w,
             const void* y);

}  // namespace ballast
