// The calls that oneDNN 2 has and oneDNN 3 has not: an operation descriptor comes before the primitive descriptor.
#include "compute/cpu/onednn.h"

namespace ballast {

namespace {

using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;

constexpr auto kDirect = dnnl::algorithm::convolution_direct;
constexpr bool kMayBeEmpty = true;

Forward::primitive_desc describe_forward(const dnnl::engine& engine, const ConvDescs& descs) {
  const Forward::desc operation(dnnl::prop_kind::forward_training, kDirect, descs.x, descs.w, descs.y, descs.strides,
                                descs.pads, descs.pads);
  return {operation, scratch_from_caller(false), engine, kMayBeEmpty};
}

}  // namespace

dnnl::primitive_desc describe_matmul(const dnnl::engine& engine, const dnnl::memory::desc& a,
                                     const dnnl::memory::desc& b, const dnnl::memory::desc& bias,
                                     const dnnl::memory::desc& c, bool accumulate) {
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, bias, c), scratch_from_caller(accumulate), engine,
                                      kMayBeEmpty);
}

dnnl::primitive_desc describe_convolution(const dnnl::engine& engine, ConvPass pass, const ConvDescs& descs) {
  const auto attributes = scratch_from_caller(false);
  auto forward = describe_forward(engine, descs);  // the backward passes take it as a hint
  if (pass == ConvPass::kForward || forward.get(kMayBeEmpty) == nullptr) return forward;
  if (pass == ConvPass::kBackwardData) {
    const BackwardData::desc operation(kDirect, descs.x, descs.w, descs.y, descs.strides, descs.pads, descs.pads);
    return BackwardData::primitive_desc(operation, attributes, engine, forward, kMayBeEmpty);
  }
  const BackwardWeights::desc operation(kDirect, descs.x, descs.dw, descs.y, descs.strides, descs.pads, descs.pads);
  return BackwardWeights::primitive_desc(operation, attributes, engine, forward, kMayBeEmpty);
}

}  // namespace ballast
