// The convolution of cuDNN by hand, and what it refuses.
#include <cudnn.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/cuda_emulator/scenarios/scenario.h"

namespace cuda_emulator {
namespace {

using namespace scenarios;

constexpr cudnnConvolutionFwdAlgo_t kForward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;

/// An image of 1 x 3 x 1 under a kernel of 3 x 3: of the kernel only the middle row meets it.
class Cudnn : public testing::Test {
 protected:
  Cudnn() {
    cudnnCreate(&handle_);
    cudnnCreateTensorDescriptor(&image_);
    cudnnCreateFilterDescriptor(&filter_);
    cudnnCreateConvolutionDescriptor(&convolution_);
    EXPECT_EQ(cudnnSetTensor4dDescriptor(image_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 1, 1, 3),
              CUDNN_STATUS_SUCCESS);
    EXPECT_EQ(
        cudnnSetConvolution2dDescriptor(convolution_, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        CUDNN_STATUS_SUCCESS);
    cudnnSetConvolutionMathType(convolution_, CUDNN_FMA_MATH);
    describe_filter(CUDNN_TENSOR_NHWC);
  }
  ~Cudnn() override {
    cudnnDestroyConvolutionDescriptor(convolution_);
    cudnnDestroyFilterDescriptor(filter_);
    cudnnDestroyTensorDescriptor(image_);
    cudnnDestroy(handle_);
  }

  void describe_filter(cudnnTensorFormat_t format) {
    EXPECT_EQ(cudnnSetFilter4dDescriptor(filter_, CUDNN_DATA_FLOAT, format, 1, 1, 3, 3), CUDNN_STATUS_SUCCESS);
  }
  cudnnStatus_t forward(std::size_t workspace_bytes, int shift = 0) {
    return cudnnConvolutionForward(handle_, &one_, image_, x_.data() + shift, filter_, w_.data(), convolution_,
                                   kForward, workspace_.data(), workspace_bytes, &zero_, image_, y_.data());
  }
  cudnnStatus_t backward_data(std::size_t workspace_bytes) {
    return cudnnConvolutionBackwardData(handle_, &one_, filter_, w_.data(), image_, x_.data(), convolution_,
                                        CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, workspace_.data(), workspace_bytes, &zero_,
                                        image_, y_.data());
  }

  float one_ = 1, zero_ = 0;
  cudnnHandle_t handle_ = nullptr;
  cudnnTensorDescriptor_t image_ = nullptr;
  cudnnFilterDescriptor_t filter_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
  DeviceArray<float> x_{std::vector<float>{1, 10, 100, 0}}, w_{std::vector<float>{9, 9, 9, 2, 3, 4, 9, 9, 9}}, y_{3},
      workspace_{256};
};

TEST_F(Cudnn, ConvolvesAndGoesBack) {
  std::size_t bytes = 0;
  ASSERT_EQ(cudnnGetConvolutionForwardWorkspaceSize(handle_, image_, filter_, convolution_, image_, kForward, &bytes),
            CUDNN_STATUS_SUCCESS);
  ASSERT_EQ(forward(bytes), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(y_.values(), (std::vector<float>{43, 432, 320}));
  ASSERT_EQ(backward_data(bytes), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(y_.values(), (std::vector<float>{23, 234, 340}));
}

TEST_F(Cudnn, RefusesASmallWorkspaceAndAMisalignedImage) {
  EXPECT_EQ(forward(16), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(forward(1024, 1), CUDNN_STATUS_BAD_PARAM);
}

TEST_F(Cudnn, DoesNotDoTwoLayoutsOrTF32) {
  describe_filter(CUDNN_TENSOR_NCHW);
  EXPECT_EQ(forward(1024), CUDNN_STATUS_NOT_SUPPORTED);
  describe_filter(CUDNN_TENSOR_NHWC);
  cudnnSetConvolutionMathType(convolution_, CUDNN_DEFAULT_MATH);
  EXPECT_EQ(forward(1024), CUDNN_STATUS_NOT_SUPPORTED);
}

}  // namespace
}  // namespace cuda_emulator
