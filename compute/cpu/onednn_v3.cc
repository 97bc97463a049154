// The calls that oneDNN 3 has and oneDNN 2 has not: a primitive descriptor is built in one step.
#include "compute/cpu/onednn.h"

namespace ballast {

namespace {

using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;

constexpr auto kDirect = dnnl::algorithm::convolution_direct;
constexpr bool kMayBeEmpty = true;

Forward::primitive_desc describe_forward(const dnnl::engine& engine, const ConvDescs& descs) {
  return {
      engine,     dnnl::prop_kind::forward_training, kDirect,    descs.x, descs.w, descs.y, descs.strides, descs.pads,
      descs.pads, scratch_from_caller(false),        kMayBeEmpty};
}

}  // namespace

dnnl::primitive_desc describe_matmul(const dnnl::engine& engine, const dnnl::memory::desc& a,
                                     const dnnl::memory::desc& b, const dnnl::memory::desc& bias,
                                     const dnnl::memory::desc& c, bool accumulate) {
  return dnnl::matmul::primitive_desc(engine, a, b, bias, c, scratch_from_caller(accumulate), kMayBeEmpty);
}

dnnl::primitive_desc describe_convolution(const dnnl::engine& engine, ConvPass pass, const ConvDescs& descs) {
  const auto attributes = scratch_from_caller(false);
  auto forward = describe_forward(engine, descs);  // the backward passes take it as a hint
  if (pass == ConvPass::kForward || forward.get(kMayBeEmpty) == nullptr) return forward;
  if (pass == ConvPass::kBackwardData) {
    return BackwardData::primitive_desc(engine, kDirect, descs.x, descs.w, descs.y, descs.strides, descs.pads,
                                        descs.pads, forward, attributes, kMayBeEmpty);
  }
  return BackwardWeights::primitive_desc(engine, kDirect, descs.x, descs.dw, descs.y, descs.strides, descs.pads,
                                         descs.pads, forward, attributes, kMayBeEmpty);
}

}  // namespace ballast
