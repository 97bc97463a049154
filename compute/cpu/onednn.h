// Defines: OneDnnKernel, OneDnnArgument, execute, make_kernel, make_reorder, ConvPass, ConvDescs, describe_matmul,
// describe_convolution.
//
// oneDNN 2 and 3 build primitives differently and agree on everything else: onednn_v2.cc and onednn_v3.cc hold the
// difference, and CMake picks the one that fits the installed library.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "compute/cpu/workspace.h"
#include "compute/tensor.h"

namespace ballast {

/// A primitive and the scratch memory of one execution. Copies share the primitive; many threads may execute it at
/// once.
struct OneDnnKernel {
  dnnl::primitive primitive;
  dnnl::memory::desc scratch;
};

/// One argument of an execution: its name (DNNL_ARG_*), layout and memory.
struct OneDnnArgument {
  int name;
  const dnnl::memory::desc& layout;
  const void* memory;
};

[[nodiscard]] dnnl::memory::data_type onednn_type(DType dtype);

/// The version of the library that runs: "oneDNN 2.6.3".
[[nodiscard]] std::string onednn_version();

/// Runs on the calling thread and waits. Throws Error when oneDNN fails. Overwrites the workspace's scratch memory.
void execute(const OneDnnKernel& kernel, Workspace& workspace, std::initializer_list<OneDnnArgument> arguments);

[[nodiscard]] OneDnnKernel make_kernel(const dnnl::primitive_desc& description);

/// Copies from one layout to another, converting types.
[[nodiscard]] OneDnnKernel make_reorder(const dnnl::engine& engine, const dnnl::memory::desc& from,
                                        const dnnl::memory::desc& to);

/// Whether oneDNN has more than its plain reference loops, which are hundreds of times slower.
[[nodiscard]] bool is_fast(const dnnl::primitive_desc& description);

/// Scratch memory is the caller's, so that one primitive serves many threads. `accumulate`: add to the output.
[[nodiscard]] dnnl::primitive_attr scratch_from_caller(bool accumulate);

enum class ConvPass : std::uint8_t { kForward, kBackwardData, kBackwardWeights };

/// Dimensions in oneDNN's order: x and y [B, C, Y, X], w and dw [O, I, K, K]. Backward passes put gradients in the
/// places of x and y.
struct ConvDescs {
  dnnl::memory::desc x, w, dw, y;
  dnnl::memory::dims strides, pads;
};

/// Empty where oneDNN does not implement the operation on this processor. `bias` may be empty.
[[nodiscard]] dnnl::primitive_desc describe_matmul(const dnnl::engine& engine, const dnnl::memory::desc& a,
                                                   const dnnl::memory::desc& b, const dnnl::memory::desc& bias,
                                                   const dnnl::memory::desc& c, bool accumulate);

/// Likewise.
[[nodiscard]] dnnl::primitive_desc describe_convolution(const dnnl::engine& engine, ConvPass pass,
                                                        const ConvDescs& descs);

}  // namespace ballast
