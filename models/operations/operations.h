// Defines: the operations that graphs are made of. Each is one file beside this header; arguments are shapes of one
// sample. Shapes that do not fit throw Error naming the operation and both shapes.
//
// Legend: w are the parameters in the order the operation expects them, x the inputs, "saved" what backward gets from
// forward.
#pragma once

#include <cstdint>
#include <memory>

#include "compute/tensor.h"
#include "models/operation.h"

namespace ballast {

/// y = x in the compute type of the graph; nothing in f32, but there all the same: the numbers of the operations behind
/// it, which name dropout masks, are those of the other types. Has no gradient: its input is data.
std::unique_ptr<Operation> convert_operation(const Shape& x);

/// y_RO = x_RI w_OI^T + b_O, or gelu of it. w = {weight, bias}. Rows R are all axes of x but the last.
std::unique_ptr<Operation> linear_operation(const Shape& x, std::int64_t outputs, LinearTail tail);

/// y_YXO = convolution of x_YXI with w_OIKK. w = {weight}.
std::unique_ptr<Operation> convolution_operation(const Shape& x, std::int64_t outputs, std::int64_t kernel,
                                                 std::int64_t stride);

/// Normalises channels over all samples and pixels of a pass. w = {weight, bias, running mean, running variance}.
/// Training adds mean * samples * statistic_scale to the "gradient" of the running mean, and the same of the unbiased
/// variance (divisor rows - 1, as PyTorch's running_var) to that of the running variance. Evaluation reads the running
/// statistics. `tail`: what follows in the same pass over memory; x[1] is the skip, of the shape of x[0].
enum class BatchNormTail : std::uint8_t { kNone, kRelu, kAddAndRelu };
std::unique_ptr<Operation> batch_norm_operation(const Shape& x, BatchNormTail tail);

/// w = {weight, bias} of the last axis.
std::unique_ptr<Operation> layer_norm_operation(const Shape& x);

std::unique_ptr<Operation> relu_operation(const Shape& x);
std::unique_ptr<Operation> gelu_operation(const Shape& x);

/// y = a + b
std::unique_ptr<Operation> add_operation(const Shape& a, const Shape& b);

/// Training zeroes elements with probability `rate` and scales the others by 1 / (1 - rate). Evaluation copies, or does
/// nothing in place.
std::unique_ptr<Operation> dropout_operation(const Shape& x, float rate);

/// y_TC = token_VC[tokens_T] + position_TC. w = {token table, position table}.
std::unique_ptr<Operation> embedding_operation(const Shape& tokens, const Shape& token_table,
                                               const Shape& position_table);

/// Causal multi-head attention: y_TC of x_T(3C) = [q | k | v].
std::unique_ptr<Operation> attention_operation(const Shape& qkv, std::int64_t heads);

/// y_C = mean over pixels of x_YXC
std::unique_ptr<Operation> average_pool_operation(const Shape& x);

/// Ends a graph: x = {logits_RV, targets_R}. Forward fills Frame::loss; backward scales by Frame::loss_scale.
std::unique_ptr<Operation> cross_entropy_operation(const Shape& logits, const Shape& targets);

/// Ends a graph: the cross-entropy of logits_RV = x_RC w_VC^T, which never exist as a whole. x = {x, targets_R},
/// w = {weight}. At most `most_rows` rows of logits exist at a time; 0: as many as 32 MiB of bf16 hold.
std::unique_ptr<Operation> linear_cross_entropy_operation(const Shape& x, const Shape& weight, const Shape& targets,
                                                          std::int64_t most_rows);

}  // namespace ballast
