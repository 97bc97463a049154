// Defines: the operations of the CUDA backend that are layers: convolution, pooling, normalisation, sequence, loss.
// compute/backend.h states shapes and formulas; each function checks its own spans.
//
// All run on queue.stream() and return before the work is done.
#pragma once

#include <cstdint>

#include "compute/backend.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

// --- convolution.cu
void conv2d(Queue& queue, const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y);
void conv2d_backward_data(Queue& queue, const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx);
void conv2d_backward_weights(Queue& queue, const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy,
                             DeviceSpan dw);

// --- pooling.cu
void average_pool(Queue& queue, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y);
void average_pool_backward(Queue& queue, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy, DeviceSpan dx);

// --- batch_norm.cu
void batch_norm(Queue& queue, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std,
                DeviceSpan var);
void batch_norm_inference(Queue& queue, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                          ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan var,
                          DeviceSpan y);
void batch_norm_backward(Queue& queue, const BatchNormShape& shape, const BatchNormGradients& tensors);

// --- layer_norm.cu
void layer_norm(Queue& queue, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std);
void layer_norm_backward(Queue& queue, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy, ConstDeviceSpan gamma,
                         ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate, DeviceSpan dx,
                         DeviceSpan dgamma, DeviceSpan dbeta);

// --- embedding.cu
void embedding(Queue& queue, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
               ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x);
void embedding_backward(Queue& queue, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                        ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table);

// --- attention_f32.cu, attention_bf16.cu
void attention(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp);
void attention_backward(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                        ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv);

// --- loss.cu: `sums` is complete after queue.synchronize()
void softmax_cross_entropy(Queue& queue, std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                           DeviceSpan log_sum_exp, LossSums& sums);
void softmax_cross_entropy_backward(Queue& queue, std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                    ConstDeviceSpan log_sum_exp, float scale, DeviceSpan dlogits);

}  // namespace ballast::cuda
