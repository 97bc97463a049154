// Defines: the memory-bound kernels of the CPU backend: the operations of Backend (compute/backend.h states shapes and
// formulas) that are neither a plain matrix product nor a convolution.
//
// Each kernel cuts its work into tasks by shape alone and adds partial sums in index order: its bits depend on the
// arguments and the instruction set, never on pool.threads(). An element's value does not depend on its place in the
// span either, so a slice of a span gives the bits that the whole span would have given there. Each call waits until
// its work is done.
#pragma once

#include <cstdint>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/thread_pool.h"

namespace ballast {

/// Widest instruction set that the kernels use on this machine, in Highway's words: "AVX3", "AVX2", "NEON", ...
[[nodiscard]] const char* vector_target();

// --- elementwise.cc, convert.cc
// ---------------------------------------------------------------------------------------
void zero(ThreadPool& pool, DeviceSpan x);
void convert(ThreadPool& pool, ConstDeviceSpan from, DeviceSpan to);
void add(ThreadPool& pool, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y);
void relu(ThreadPool& pool, ConstDeviceSpan x, DeviceSpan y);
void relu_backward(ThreadPool& pool, ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx);
void gelu(ThreadPool& pool, ConstDeviceSpan x, DeviceSpan y);
void gelu_backward(ThreadPool& pool, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx);

// --- dropout.cc
// -------------------------------------------------------------------------------------------------------
/// Kept iff uniform(word) >= rate, with the word that DropoutKey names. rate in [0, 1).
void dropout(ThreadPool& pool, const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y);

// --- columns.cc: sums over rows and pixels
// ------------------------------------------------------------------------------
void bias_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias);
void average_pool(ThreadPool& pool, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y);
void average_pool_backward(ThreadPool& pool, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy,
                           DeviceSpan dx);

// --- batch_norm.cc, batch_norm_backward.cc
// ----------------------------------------------------------------------------------------------------
void batch_norm(ThreadPool& pool, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std,
                DeviceSpan var);
void batch_norm_inference(ThreadPool& pool, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                          ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan var,
                          DeviceSpan y);
void batch_norm_backward(ThreadPool& pool, const BatchNormShape& shape, const BatchNormGradients& tensors);

// --- layer_norm.cc
// ----------------------------------------------------------------------------------------------------
void layer_norm(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std);
void layer_norm_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy,
                         ConstDeviceSpan gamma, ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate,
                         DeviceSpan dx, DeviceSpan dgamma, DeviceSpan dbeta);

// --- embedding.cc
// -----------------------------------------------------------------------------------------------------
void embedding(ThreadPool& pool, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
               ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x);
void embedding_backward(ThreadPool& pool, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                        ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table);

// --- attention.cc
// -----------------------------------------------------------------------------------------------------
void attention(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y,
               DeviceSpan log_sum_exp);
void attention_backward(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                        ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv);

// --- loss.cc
// ----------------------------------------------------------------------------------------------------------
LossSums softmax_cross_entropy(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                               DeviceSpan log_sum_exp);
void softmax_cross_entropy_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan logits,
                                    ConstDeviceSpan targets, ConstDeviceSpan log_sum_exp, float scale,
                                    DeviceSpan dlogits);

// --- reduction.cc, compression.cc, update.cc
// ----------------------------------------------------------------------------
void ordered_sum(ThreadPool& pool, std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum);
double sum_of_squares(ThreadPool& pool, ConstDeviceSpan x);
void ordered_sum_and_squares(ThreadPool& pool, std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                             DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares);
void compress(ThreadPool& pool, std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error,
              DeviceSpan code);
void decompress(ThreadPool& pool, std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x);
UpdateSums update(ThreadPool& pool, const UpdateRule& rule, const UpdateRun& run);
void update_parts(ThreadPool& pool, const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                  std::span<UpdateSums> sums);

}  // namespace ballast
