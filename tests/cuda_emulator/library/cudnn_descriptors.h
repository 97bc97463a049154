// What cuDNN's opaque handles hold here.
#pragma once

#include <cudnn.h>

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

struct cudnnTensorStruct {
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int samples = 0, channels = 0, rows = 0, columns = 0;
};

struct cudnnFilterStruct {
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int outputs = 0, inputs = 0, rows = 0, columns = 0;
};

struct cudnnConvolutionStruct {
  int pad[2] = {}, stride[2] = {1, 1}, dilation[2] = {1, 1};
  cudnnConvolutionMode_t mode = CUDNN_CONVOLUTION;
  cudnnDataType_t compute = CUDNN_DATA_DOUBLE;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
