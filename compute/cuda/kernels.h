// Defines: the operations of the CUDA backend that are elementwise, sums, updates or matrix products.
// compute/backend.h states shapes and formulas; spans have been checked for nothing: each function checks its own.
//
// All run on queue.stream() and return before the work is done, unless they return a value.
#pragma once

#include <cstdint>
#include <span>

#include "compute/backend.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

// --- elementwise.cu
void convert(Queue& queue, ConstDeviceSpan from, DeviceSpan to);
void add(Queue& queue, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y);
void relu(Queue& queue, ConstDeviceSpan x, DeviceSpan y);
void relu_backward(Queue& queue, ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx);
void gelu(Queue& queue, ConstDeviceSpan x, DeviceSpan y);
void gelu_backward(Queue& queue, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx);

// --- dropout.cu
void dropout(Queue& queue, const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y);

// --- columns.cu
void bias_backward(Queue& queue, std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias);

// --- reduction.cu: `squares` are complete after queue.synchronize()
void ordered_sum(Queue& queue, std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum);
double sum_of_squares(Queue& queue, ConstDeviceSpan x);
void ordered_sum_and_squares(Queue& queue, std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                             DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares);

// --- compression.cu
void compress(Queue& queue, std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error, DeviceSpan code);
void decompress(Queue& queue, std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x);

// --- update.cu: the sums of update_parts are complete after queue.synchronize()
UpdateSums update(Queue& queue, const UpdateRule& rule, const UpdateRun& run);
void update_parts(Queue& queue, const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                  std::span<UpdateSums> sums);

}  // namespace ballast::cuda
