// Defines: attention_bf16, attention_backward_bf16: attention of bf16 tensors where there is bf16_gemm.
#pragma once

#include "compute/backend.h"
#include "compute/cpu/thread_pool.h"

namespace ballast {

/// As attention and attention_backward of kernels.h, which check the arguments. Products multiply bf16 numbers,
/// probabilities and gradients of scores being rounded for them, and add in f32. Only where has_bf16_kernels().
void attention_bf16(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y,
                    DeviceSpan log_sum_exp);
void attention_backward_bf16(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                             ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv);

}  // namespace ballast
