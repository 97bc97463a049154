// cuDNN: handles and descriptors.
#include "cudnn_descriptors.h"

#include <cstddef>

namespace {

template <class Description>
cudnnStatus_t create(Description** description) {
  *description = new Description;
  return CUDNN_STATUS_SUCCESS;
}

template <class Description>
cudnnStatus_t destroy(Description* description) {
  delete description;
  return CUDNN_STATUS_SUCCESS;
}

template <class Description>
cudnnStatus_t set(Description* description, const Description& value) {
  *description = value;
  return CUDNN_STATUS_SUCCESS;
}

bool is_emulated(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16; }

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() { return CUDNN_VERSION; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (CUDNN_STATUS_CATEGORY(status)) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    default:
      return "unknown cuDNN status";
  }
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return create(handle); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return destroy(handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) { return set(handle, {stream}); }

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensor) { return create(tensor); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) { return destroy(tensor); }
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int samples, int channels, int rows, int columns) {
  if (samples < 1 || channels < 1 || rows < 1 || columns < 1) return CUDNN_STATUS_BAD_PARAM;
  if (!is_emulated(type)) return CUDNN_STATUS_NOT_SUPPORTED;
  return set(tensor, {format, type, samples, channels, rows, columns});
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filter) { return create(filter); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filter) { return destroy(filter); }
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int outputs, int inputs, int rows, int columns) {
  if (outputs < 1 || inputs < 1 || rows < 1 || columns < 1) return CUDNN_STATUS_BAD_PARAM;
  if (!is_emulated(type)) return CUDNN_STATUS_NOT_SUPPORTED;
  return set(filter, {format, type, outputs, inputs, rows, columns});
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* convolution) {
  return create(convolution);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t convolution) {
  return destroy(convolution);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convolution, int pad_rows, int pad_columns,
                                              int stride_rows, int stride_columns, int dilation_rows,
                                              int dilation_columns, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  if (pad_rows < 0 || pad_columns < 0 || stride_rows < 1 || stride_columns < 1) return CUDNN_STATUS_BAD_PARAM;
  return set(convolution, {{pad_rows, pad_columns},
                           {stride_rows, stride_columns},
                           {dilation_rows, dilation_columns},
                           mode,
                           compute,
                           CUDNN_DEFAULT_MATH});
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convolution, cudnnMathType_t math) {
  convolution->math = math;
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
