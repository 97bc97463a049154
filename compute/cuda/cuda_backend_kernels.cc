// The operations of CudaBackend that are kernels of kernels.h and layer_kernels.h.
#include "compute/cuda/cuda_backend.h"
#include "compute/cuda/kernels.h"
#include "compute/cuda/layer_kernels.h"

namespace ballast::cuda {

void CudaBackend::convert(ConstDeviceSpan from, DeviceSpan to) {
  cuda::convert(queue_.begin("convert", {to}), from, to);
}

void CudaBackend::add(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  cuda::add(queue_.begin("add", {y}), a, b, y);
}

void CudaBackend::relu(ConstDeviceSpan x, DeviceSpan y) { cuda::relu(queue_.begin("relu", {y}), x, y); }

void CudaBackend::relu_backward(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) {
  cuda::relu_backward(queue_.begin("relu_backward", {dx}), y, dy, dx);
}

void CudaBackend::gelu(ConstDeviceSpan x, DeviceSpan y) { cuda::gelu(queue_.begin("gelu", {y}), x, y); }

void CudaBackend::gelu_backward(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  cuda::gelu_backward(queue_.begin("gelu_backward", {dx}), x, dy, dx);
}

void CudaBackend::dropout(const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  cuda::dropout(queue_.begin("dropout", {y}), key, samples, x, y);
}

void CudaBackend::bias_backward(std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) {
  cuda::bias_backward(queue_.begin("bias_backward", {dbias}), rows, dy, dbias);
}

void CudaBackend::conv2d(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  Queue& queue = queue_.begin("conv2d", {y});
  if (!cudnn_.conv2d(queue, shape, x, w, y)) cuda::conv2d(queue, shape, x, w, y);
}

void CudaBackend::conv2d_backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx) {
  Queue& queue = queue_.begin("conv2d_backward_data", {dx});
  if (!cudnn_.conv2d_backward_data(queue, shape, dy, w, dx)) cuda::conv2d_backward_data(queue, shape, dy, w, dx);
}

void CudaBackend::conv2d_backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy,
                                          DeviceSpan dw) {
  cuda::conv2d_backward_weights(queue_.begin("conv2d_backward_weights", {dw}), shape, x, dy, dw);
}

void CudaBackend::average_pool(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) {
  cuda::average_pool(queue_.begin("average_pool", {y}), samples, pixels, x, y);
}

void CudaBackend::average_pool_backward(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy, DeviceSpan dx) {
  cuda::average_pool_backward(queue_.begin("average_pool_backward", {dx}), samples, pixels, dy, dx);
}

void CudaBackend::batch_norm(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                             ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean,
                             DeviceSpan inv_std, DeviceSpan var) {
  cuda::batch_norm(queue_.begin("batch_norm", {y, mean, inv_std, var}), shape, x, skip, gamma, beta, y, mean, inv_std,
                   var);
}

void CudaBackend::batch_norm_inference(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                       ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean,
                                       ConstDeviceSpan var, DeviceSpan y) {
  cuda::batch_norm_inference(queue_.begin("batch_norm_inference", {y}), shape, x, skip, gamma, beta, mean, var, y);
}

void CudaBackend::batch_norm_backward(const BatchNormShape& shape, const BatchNormGradients& tensors) {
  cuda::batch_norm_backward(
      queue_.begin("batch_norm_backward", {tensors.dx, tensors.dskip, tensors.dgamma, tensors.dbeta}), shape, tensors);
}

void CudaBackend::layer_norm(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                             DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) {
  cuda::layer_norm(queue_.begin("layer_norm", {y, mean, inv_std}), rows, x, gamma, beta, y, mean, inv_std);
}

void CudaBackend::layer_norm_backward(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy, ConstDeviceSpan gamma,
                                      ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate, DeviceSpan dx,
                                      DeviceSpan dgamma, DeviceSpan dbeta) {
  cuda::layer_norm_backward(queue_.begin("layer_norm_backward", {dx, dgamma, dbeta}), rows, x, dy, gamma, mean, inv_std,
                            accumulate, dx, dgamma, dbeta);
}

void CudaBackend::embedding(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                            ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) {
  cuda::embedding(queue_.begin("embedding", {x}), samples, positions, tokens, token_table, position_table, x);
}

void CudaBackend::embedding_backward(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                     ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) {
  cuda::embedding_backward(queue_.begin("embedding_backward", {dtoken_table, dposition_table}), samples, positions,
                           tokens, dx, dtoken_table, dposition_table);
}

void CudaBackend::attention(const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp) {
  cuda::attention(queue_.begin("attention", {y, log_sum_exp}), shape, qkv, y, log_sum_exp);
}

void CudaBackend::attention_backward(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                                     ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  cuda::attention_backward(queue_.begin("attention_backward", {dqkv}), shape, qkv, y, dy, log_sum_exp, dqkv);
}

void CudaBackend::softmax_cross_entropy(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                        DeviceSpan log_sum_exp, LossSums& sums) {
  cuda::softmax_cross_entropy(queue_.begin("softmax_cross_entropy", {log_sum_exp}), rows, logits, targets, log_sum_exp,
                              sums);
}

void CudaBackend::softmax_cross_entropy_backward(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                                 ConstDeviceSpan log_sum_exp, float scale, DeviceSpan dlogits) {
  cuda::softmax_cross_entropy_backward(queue_.begin("softmax_cross_entropy_backward", {dlogits}), rows, logits, targets,
                                       log_sum_exp, scale, dlogits);
}

void CudaBackend::ordered_sum(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum) {
  cuda::ordered_sum(queue_.begin("ordered_sum", {sum}), addends, tree, sum);
}

double CudaBackend::sum_of_squares(ConstDeviceSpan x) {
  return cuda::sum_of_squares(queue_.begin("sum_of_squares"), x);
}

void CudaBackend::ordered_sum_and_squares(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                          DeviceSpan sum, std::span<const ElementRange> parts,
                                          std::span<double> squares) {
  cuda::ordered_sum_and_squares(queue_.begin("ordered_sum_and_squares", {sum}), addends, tree, sum, parts, squares);
}

void CudaBackend::compress(std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error, DeviceSpan code) {
  cuda::compress(queue_.begin("compress", {error, code}), blocks, x, error, code);
}

void CudaBackend::decompress(std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) {
  cuda::decompress(queue_.begin("decompress", {x}), blocks, code, x);
}

UpdateSums CudaBackend::update(const UpdateRule& rule, const UpdateRun& run) {
  return cuda::update(queue_.begin("update", {run.value, run.compute, run.state[0], run.state[1]}), rule, run);
}

void CudaBackend::update_parts(const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                               std::span<UpdateSums> sums) {
  cuda::update_parts(queue_.begin("update_parts", {run.value, run.compute, run.state[0], run.state[1]}), rule, run,
                     parts, sums);
}

}  // namespace ballast::cuda
