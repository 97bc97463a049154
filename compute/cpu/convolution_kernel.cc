#include "compute/cpu/convolution_kernel.h"

#include "compute/error.h"

namespace ballast {

namespace {

using Tag = dnnl::memory::format_tag;

ConvDescs descs_of(const ConvKey& key) {
  const ConvShape shape{key.samples, key.rows, key.columns, key.inputs, key.outputs, key.kernel, key.stride, key.pad};
  const auto type = onednn_type(key.dtype);
  const dnnl::memory::dims w_OIKK = {key.outputs, key.inputs, key.kernel, key.kernel};
  return {.x = {{key.samples, key.inputs, key.rows, key.columns}, type, Tag::nhwc},
          .w = {w_OIKK, type, Tag::any},
          .dw = {w_OIKK, onednn_type(DType::kF32), Tag::any},
          .y = {{key.samples, key.outputs, shape.out_rows(), shape.out_columns()}, type, Tag::nhwc},
          .strides = {key.stride, key.stride},
          .pads = {key.pad, key.pad}};
}

}  // namespace

ConvKernel make_conv_kernel(const dnnl::engine& engine, const ConvKey& key) {
  const bool weight_gradient = key.pass == ConvPass::kBackwardWeights;
  const ConvDescs descs = descs_of(key);
  const auto description = describe_convolution(engine, key.pass, descs);
  ConvKernel made;
  made.fast = is_fast(description);
  if (description.get(true) == nullptr) return made;
  made.convolution = make_kernel(description);
  made.x = descs.x;
  made.y = descs.y;
  made.packed_w = description.query_md(weight_gradient ? dnnl::query::diff_weights_md : dnnl::query::weights_md);
  made.plain_w = {{key.outputs, key.inputs, key.kernel, key.kernel},
                  onednn_type(weight_gradient ? DType::kF32 : key.dtype),
                  Tag::oihw};
  made.reorder = weight_gradient ? make_reorder(engine, made.packed_w, made.plain_w)
                                 : make_reorder(engine, made.plain_w, made.packed_w);
  return made;
}

void execute(const ConvKernel& kernel, ConvPass pass, Workspace& workspace, const void* x, const void* w,
             const void* y) {
  require(kernel.convolution.primitive.get(true) != nullptr, "oneDNN has no convolution of this shape in f32");
  switch (pass) {
    case ConvPass::kForward:
      return execute(
          kernel.convolution, workspace,
          {{DNNL_ARG_SRC, kernel.x, x}, {DNNL_ARG_WEIGHTS, kernel.packed_w, w}, {DNNL_ARG_DST, kernel.y, y}});
    case ConvPass::kBackwardData:
      return execute(
          kernel.convolution, workspace,
          {{DNNL_ARG_DIFF_SRC, kernel.x, x}, {DNNL_ARG_WEIGHTS, kernel.packed_w, w}, {DNNL_ARG_DIFF_DST, kernel.y, y}});
    case ConvPass::kBackwardWeights:
      return execute(
          kernel.convolution, workspace,
          {{DNNL_ARG_SRC, kernel.x, x}, {DNNL_ARG_DIFF_WEIGHTS, kernel.packed_w, w}, {DNNL_ARG_DIFF_DST, kernel.y, y}});
  }
}

}  // namespace ballast
