// Images are BYXC, which cuDNN calls NHWC; weights come as OIKK and are rearranged to the OKKI that goes with it.
#include "compute/cuda/cudnn.h"

#include <cudnn.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <source_location>
#include <tuple>

#include "compute/cuda/convolution.h"
#include "compute/cuda/handles.h"

namespace ballast::cuda {

namespace {

using Tensor = Owned<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using Filter = Owned<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using Convolution = Owned<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

// Both are implicit matrix products, and cuDNN lists both among the algorithms whose bits are the same in every run.
constexpr cudnnConvolutionFwdAlgo_t kForward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
constexpr cudnnConvolutionBwdDataAlgo_t kData = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;

constexpr std::uintptr_t kAlignment = 16;        // bytes, of images
constexpr std::int64_t kScratchAlignment = 256;  // bytes, of the workspace behind the packed weights

void check(cudnnStatus_t status, std::source_location where = std::source_location::current()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw Error(std::string("cuDNN: ") + cudnnGetErrorString(status), ExitCode::kInternal, where);
}

/// False where cuDNN does not do such a convolution; throws Error where something went wrong.
bool supported(cudnnStatus_t status, std::source_location where = std::source_location::current()) {
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return false;
  check(status, where);
  return true;
}

cudnnDataType_t type_of(DType dtype) { return dtype == DType::kBF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

/// What an algorithm is chosen for: a convolution, or the gradient of its data.
struct Key {
  std::array<std::int64_t, 8> shape{};
  DType dtype = DType::kF32;
  bool data = false;
  auto operator<=>(const Key&) const = default;
};

struct Plan {
  Tensor x, y;
  Filter w;
  Convolution convolution;
  std::size_t workspace = 0;  ///< bytes
  bool exists = false;        ///< whether cuDNN does it
};

bool describe_tensor(DType dtype, std::int64_t samples, std::int64_t rows, std::int64_t columns, std::int64_t channels,
                     Tensor& tensor) {
  cudnnTensorDescriptor_t made = nullptr;
  check(cudnnCreateTensorDescriptor(&made));
  tensor = Tensor(made);
  return supported(cudnnSetTensor4dDescriptor(made, CUDNN_TENSOR_NHWC, type_of(dtype), static_cast<int>(samples),
                                              static_cast<int>(channels), static_cast<int>(rows),
                                              static_cast<int>(columns)));
}

Filter describe_weights(DType dtype, const ConvShape& shape) {
  cudnnFilterDescriptor_t made = nullptr;
  check(cudnnCreateFilterDescriptor(&made));
  Filter filter(made);
  const auto kernel = static_cast<int>(shape.kernel);
  check(cudnnSetFilter4dDescriptor(made, type_of(dtype), CUDNN_TENSOR_NHWC, static_cast<int>(shape.outputs),
                                   static_cast<int>(shape.inputs), kernel, kernel));
  return filter;
}

Convolution describe_convolution(DType dtype, const ConvShape& shape) {
  cudnnConvolutionDescriptor_t made = nullptr;
  check(cudnnCreateConvolutionDescriptor(&made));
  Convolution convolution(made);
  const auto pad = static_cast<int>(shape.pad), stride = static_cast<int>(shape.stride);
  check(
      cudnnSetConvolution2dDescriptor(made, pad, pad, stride, stride, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  // The default would let f32 be rounded to TF32.
  check(cudnnSetConvolutionMathType(made, dtype == DType::kF32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  return convolution;
}

Plan make_plan(cudnnHandle_t handle, const ConvShape& shape, DType dtype, bool data) {
  Plan plan;
  plan.w = describe_weights(dtype, shape);
  plan.convolution = describe_convolution(dtype, shape);
  if (!describe_tensor(dtype, shape.samples, shape.rows, shape.columns, shape.inputs, plan.x) ||
      !describe_tensor(dtype, shape.samples, shape.out_rows(), shape.out_columns(), shape.outputs, plan.y)) {
    return plan;
  }
  const cudnnStatus_t status =
      data ? cudnnGetConvolutionBackwardDataWorkspaceSize(handle, plan.w.get(), plan.y.get(), plan.convolution.get(),
                                                          plan.x.get(), kData, &plan.workspace)
           : cudnnGetConvolutionForwardWorkspaceSize(handle, plan.x.get(), plan.w.get(), plan.convolution.get(),
                                                     plan.y.get(), kForward, &plan.workspace);
  plan.exists = supported(status);
  return plan;
}

bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0; }

/// What cuDNN's numbers of 32 bits can say.
bool is_small(std::int64_t elements) { return elements <= std::numeric_limits<std::int32_t>::max(); }

}  // namespace

struct Cudnn::State {
  Owned<cudnnHandle_t, cudnnDestroy> handle;  // made by the first convolution: models without do not pay for it
  std::map<Key, Plan> plans;

  /// The plan of a call, or null where cuDNN cannot do it.
  const Plan* plan_for(Queue& queue, const ConvShape& shape, DType dtype, bool data) {
    if (handle.get() == nullptr) {
      const cudaStream_t stream = queue.uncaptured_stream();  // a handle takes memory, which a capture cannot hold
      cudnnHandle_t made = nullptr;
      check(cudnnCreate(&made));
      handle = Owned<cudnnHandle_t, cudnnDestroy>(made);
      check(cudnnSetStream(made, stream));
    }
    const Key key{
        {shape.samples, shape.rows, shape.columns, shape.inputs, shape.outputs, shape.kernel, shape.stride, shape.pad},
        dtype,
        data};
    auto found = plans.find(key);
    if (found == plans.end()) found = plans.emplace(key, make_plan(handle.get(), shape, dtype, data)).first;
    return found->second.exists ? &found->second : nullptr;
  }

  /// Calls run(plan, packed weights, workspace) where cuDNN can do it.
  template <class Run>
  bool convolve(Queue& queue, const ConvShape& shape, bool data, ConstDeviceSpan image, ConstDeviceSpan w,
                DeviceSpan result, const Run& run) {
    const bool usable = w.dtype == image.dtype && !result.empty() && is_aligned(image.data) &&
                        is_aligned(result.data) && is_small(image.size) && is_small(result.size);
    const Plan* const plan = usable ? plan_for(queue, shape, image.dtype, data) : nullptr;
    if (plan == nullptr) return false;
    const std::int64_t packed_bytes = (w.bytes() + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
    auto* const packed =
        static_cast<std::byte*>(queue.scratch(packed_bytes + static_cast<std::int64_t>(plan->workspace)));
    pack_weights(queue, shape, w, packed);
    const float one = 1.0F, zero = 0.0F;
    check(run(*plan, &one, &zero, packed, packed + packed_bytes));
    return true;
  }
};

Cudnn::Cudnn() : state_(std::make_unique<State>()) {}
Cudnn::~Cudnn() = default;

std::string Cudnn::version() const {
  const std::size_t version = cudnnGetVersion();
  return ", cuDNN " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

bool Cudnn::conv2d(Queue& queue, const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  check_convolution(shape, x, w, y);
  return state_->convolve(queue, shape, /*data=*/false, x, w, y,
                          [&](const Plan& plan, const float* one, const float* zero, void* packed, void* workspace) {
                            return cudnnConvolutionForward(state_->handle.get(), one, plan.x.get(), x.data,
                                                           plan.w.get(), packed, plan.convolution.get(), kForward,
                                                           workspace, plan.workspace, zero, plan.y.get(), y.data);
                          });
}

bool Cudnn::conv2d_backward_data(Queue& queue, const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w,
                                 DeviceSpan dx) {
  check_convolution(shape, dx, w, dy);
  return state_->convolve(queue, shape, /*data=*/true, dy, w, dx,
                          [&](const Plan& plan, const float* one, const float* zero, void* packed, void* workspace) {
                            return cudnnConvolutionBackwardData(state_->handle.get(), one, plan.w.get(), packed,
                                                                plan.y.get(), dy.data, plan.convolution.get(), kData,
                                                                workspace, plan.workspace, zero, plan.x.get(), dx.data);
                          });
}

}  // namespace ballast::cuda
