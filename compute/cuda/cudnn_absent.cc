// The plugin without cuDNN.
#include "compute/cuda/cudnn.h"

namespace ballast::cuda {

struct Cudnn::State {};

Cudnn::Cudnn() = default;
Cudnn::~Cudnn() = default;

std::string Cudnn::version() const { return {}; }

bool Cudnn::conv2d(Queue& /*queue*/, const ConvShape& /*shape*/, ConstDeviceSpan /*x*/, ConstDeviceSpan /*w*/,
                   DeviceSpan /*y*/) {
  return false;
}

bool Cudnn::conv2d_backward_data(Queue& /*queue*/, const ConvShape& /*shape*/, ConstDeviceSpan /*dy*/,
                                 ConstDeviceSpan /*w*/, DeviceSpan /*dx*/) {
  return false;
}

}  // namespace ballast::cuda
