// cuDNN: convolutions of images in NHWC, by plain loops that add up in one order.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cudnn_descriptors.h"
#include "elements.h"
#include "memory.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

constexpr std::size_t kWorkspace = 512;    // what an algorithm asks for
constexpr std::uintptr_t kAlignment = 16;  // of images and weights: "Tensor Core operations", cuDNN's documentation
constexpr int kChannels = 2;               // what those of bf16 are a multiple of here: some must be refused

/// Everything a call needs, copied when it is queued. Where `data`, y is read and x is written.
struct Call {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct convolution;
  bool data = false;
  std::byte *x_data = nullptr, *y_data = nullptr, *w_data = nullptr, *workspace = nullptr;
};

cudaDataType type_of(cudnnDataType_t type) { return type == CUDNN_DATA_BFLOAT16 ? CUDA_R_16BF : CUDA_R_32F; }

std::size_t bytes_of(const cudnnTensorStruct& x) {
  return std::size_t(x.samples) * x.channels * x.rows * x.columns * element_bytes(type_of(x.type));
}
std::size_t bytes_of(const cudnnFilterStruct& w) {
  return std::size_t(w.outputs) * w.inputs * w.rows * w.columns * element_bytes(type_of(w.type));
}

int outputs_along(int size, int kernel, int pad, int stride) { return (size + 2 * pad - kernel) / stride + 1; }

cudnnStatus_t check(const Call& c) {
  const auto& [pad, stride, dilation, mode, compute, math] = c.convolution;
  const bool fits = c.x.samples == c.y.samples && c.x.channels == c.w.inputs && c.y.channels == c.w.outputs &&
                    c.y.rows == outputs_along(c.x.rows, c.w.rows, pad[0], stride[0]) &&
                    c.y.columns == outputs_along(c.x.columns, c.w.columns, pad[1], stride[1]);
  if (!fits) return CUDNN_STATUS_BAD_PARAM;
  const bool one_type = c.x.type == c.w.type && c.y.type == c.w.type && compute == CUDNN_DATA_FLOAT;
  const bool one_format =
      c.x.format == CUDNN_TENSOR_NHWC && c.w.format == CUDNN_TENSOR_NHWC && c.y.format == CUDNN_TENSOR_NHWC;
  const bool bf16 = c.x.type == CUDNN_DATA_BFLOAT16;
  const bool known_math = math == (bf16 ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH);
  const bool even = !bf16 || (c.w.inputs % kChannels == 0 && c.w.outputs % kChannels == 0);
  const bool supported = one_type && one_format && known_math && even && mode == CUDNN_CROSS_CORRELATION &&
                         dilation[0] == 1 && dilation[1] == 1;
  return supported ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

std::size_t at(const cudnnTensorStruct& x, int sample, int row, int column, int channel) {
  return ((std::size_t(sample) * x.rows + row) * x.columns + column) * x.channels + channel;
}

/// Calls use(x's row, x's column, weight of output 0 and input 0) for every tap of an output that lies in the image.
template <class Use>
void for_taps(const Call& c, int out_row, int out_column, const Use& use) {
  for (int i = 0; i < c.w.rows; ++i) {
    for (int j = 0; j < c.w.columns; ++j) {
      const int row = out_row * c.convolution.stride[0] - c.convolution.pad[0] + i;
      const int column = out_column * c.convolution.stride[1] - c.convolution.pad[1] + j;
      if (row < 0 || row >= c.x.rows || column < 0 || column >= c.x.columns) continue;
      use(row, column, (std::size_t(i) * c.w.columns + j) * c.w.inputs);
    }
  }
}

template <class Use>
void for_outputs(const Call& c, const Use& use) {
  for (int sample = 0; sample < c.y.samples; ++sample) {
    for (int row = 0; row < c.y.rows; ++row) {
      for (int column = 0; column < c.y.columns; ++column) {
        for (int channel = 0; channel < c.y.channels; ++channel) use(sample, row, column, channel);
      }
    }
  }
}

/// A weight of one output channel.
std::size_t weights_of(const Call& c, int output) { return std::size_t(output) * c.w.rows * c.w.columns * c.w.inputs; }

void forward(const Call& c) {
  const cudaDataType type = type_of(c.x.type);
  for_outputs(c, [&](int sample, int row, int column, int output) {
    float sum = 0;
    for_taps(c, row, column, [&](int x_row, int x_column, std::size_t tap) {
      for (int k = 0; k < c.x.channels; ++k) {
        sum += load(c.x_data, type, at(c.x, sample, x_row, x_column, k)) *
               load(c.w_data, type, weights_of(c, output) + tap + k);
      }
    });
    store(c.y_data, type, at(c.y, sample, row, column, output), sum);
  });
}

void backward_data(const Call& c) {
  const cudaDataType type = type_of(c.x.type);
  const std::size_t size = bytes_of(c.x) / element_bytes(type);
  std::vector<float> sums(size);
  for_outputs(c, [&](int sample, int row, int column, int output) {
    const float dy = load(c.y_data, type, at(c.y, sample, row, column, output));
    for_taps(c, row, column, [&](int x_row, int x_column, std::size_t tap) {
      for (int k = 0; k < c.x.channels; ++k) {
        sums[at(c.x, sample, x_row, x_column, k)] += dy * load(c.w_data, type, weights_of(c, output) + tap + k);
      }
    });
  });
  for (std::size_t i = 0; i < size; ++i) store(c.x_data, type, i, sums[i]);
}

void run(const Call& c) {
  check_range(c.x_data, bytes_of(c.x), "convolution x", c.data ? Access::kWrite : Access::kRead);
  check_range(c.w_data, bytes_of(c.w), "convolution w", Access::kRead);
  check_range(c.y_data, bytes_of(c.y), "convolution y", c.data ? Access::kRead : Access::kWrite);
  check_range(c.workspace, kWorkspace, "convolution workspace", Access::kWrite);
  std::memset(c.workspace, 0xff, kWorkspace);  // a real algorithm leaves something there
  c.data ? backward_data(c) : forward(c);
}

Call call_of(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t convolution,
             cudnnTensorDescriptor_t y, bool data) {
  return {.x = *x, .y = *y, .w = *w, .convolution = *convolution, .data = data};
}

cudnnStatus_t ask(const Call& call, bool known, std::size_t* bytes) {
  if (!known) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = kWorkspace;
  return check(call);
}

cudnnStatus_t queue(cudnnHandle_t handle, Call call, bool known, const void* x, const void* w, const void* y,
                    void* workspace, std::size_t bytes, const void* alpha, const void* beta) {
  const cudnnStatus_t status = known ? check(call) : CUDNN_STATUS_NOT_SUPPORTED;
  if (status != CUDNN_STATUS_SUCCESS) return status;
  for (const void* pointer : {x, w, y}) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % kAlignment != 0) return CUDNN_STATUS_BAD_PARAM;
  }
  const bool plain = *static_cast<const float*>(alpha) == 1.0f && *static_cast<const float*>(beta) == 0.0f;
  if (!plain || bytes < kWorkspace) return CUDNN_STATUS_BAD_PARAM;
  const auto writable = [](const void* memory) { return static_cast<std::byte*>(const_cast<void*>(memory)); };
  call.x_data = writable(x);
  call.w_data = writable(w);
  call.y_data = writable(y);
  call.workspace = static_cast<std::byte*>(workspace);
  const Lock lock;
  push(stream_of(handle->stream), {.what = "cudnnConvolution", .run = [call](CUstream_st&) { run(call); }});
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t convolution,
                                                      const cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algo,
                                                      std::size_t* bytes) {
  return ask(call_of(x, w, convolution, y, false), algo == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t x,
                                      const void* x_data, const cudnnFilterDescriptor_t w, const void* w_data,
                                      const cudnnConvolutionDescriptor_t convolution, cudnnConvolutionFwdAlgo_t algo,
                                      void* workspace, std::size_t bytes, const void* beta,
                                      const cudnnTensorDescriptor_t y, void* y_data) {
  return queue(handle, call_of(x, w, convolution, y, false), algo == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
               x_data, w_data, y_data, workspace, bytes, alpha, beta);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                           const cudnnTensorDescriptor_t dy,
                                                           const cudnnConvolutionDescriptor_t convolution,
                                                           const cudnnTensorDescriptor_t dx,
                                                           cudnnConvolutionBwdDataAlgo_t algo, std::size_t* bytes) {
  return ask(call_of(dx, w, convolution, dy, true), algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, bytes);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha, const cudnnFilterDescriptor_t w,
                                           const void* w_data, const cudnnTensorDescriptor_t dy, const void* dy_data,
                                           const cudnnConvolutionDescriptor_t convolution,
                                           cudnnConvolutionBwdDataAlgo_t algo, void* workspace, std::size_t bytes,
                                           const void* beta, const cudnnTensorDescriptor_t dx, void* dx_data) {
  return queue(handle, call_of(dx, w, convolution, dy, true), algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, dx_data,
               w_data, dy_data, workspace, bytes, alpha, beta);
}

}  // extern "C"
