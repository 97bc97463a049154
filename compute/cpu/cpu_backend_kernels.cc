// The operations of CpuBackend that are kernels of kernels.h.
#include "compute/cpu/cpu_backend.h"
#include "compute/cpu/kernels.h"

namespace ballast {

void CpuBackend::convert(ConstDeviceSpan from, DeviceSpan to) { ballast::convert(pool_, from, to); }

void CpuBackend::add(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) { ballast::add(pool_, a, b, y); }

void CpuBackend::relu(ConstDeviceSpan x, DeviceSpan y) { ballast::relu(pool_, x, y); }

void CpuBackend::relu_backward(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) {
  ballast::relu_backward(pool_, y, dy, dx);
}

void CpuBackend::gelu(ConstDeviceSpan x, DeviceSpan y) { ballast::gelu(pool_, x, y); }

void CpuBackend::gelu_backward(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  ballast::gelu_backward(pool_, x, dy, dx);
}

void CpuBackend::dropout(const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  ballast::dropout(pool_, key, samples, x, y);
}

void CpuBackend::bias_backward(std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) {
  ballast::bias_backward(pool_, rows, dy, dbias);
}

void CpuBackend::average_pool(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) {
  ballast::average_pool(pool_, samples, pixels, x, y);
}

void CpuBackend::average_pool_backward(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy, DeviceSpan dx) {
  ballast::average_pool_backward(pool_, samples, pixels, dy, dx);
}

void CpuBackend::batch_norm(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip, ConstDeviceSpan gamma,
                            ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std, DeviceSpan var) {
  ballast::batch_norm(pool_, shape, x, skip, gamma, beta, y, mean, inv_std, var);
}

void CpuBackend::batch_norm_inference(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                      ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean,
                                      ConstDeviceSpan var, DeviceSpan y) {
  ballast::batch_norm_inference(pool_, shape, x, skip, gamma, beta, mean, var, y);
}

void CpuBackend::batch_norm_backward(const BatchNormShape& shape, const BatchNormGradients& tensors) {
  ballast::batch_norm_backward(pool_, shape, tensors);
}

void CpuBackend::layer_norm(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                            DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) {
  ballast::layer_norm(pool_, rows, x, gamma, beta, y, mean, inv_std);
}

void CpuBackend::layer_norm_backward(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy, ConstDeviceSpan gamma,
                                     ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate, DeviceSpan dx,
                                     DeviceSpan dgamma, DeviceSpan dbeta) {
  ballast::layer_norm_backward(pool_, rows, x, dy, gamma, mean, inv_std, accumulate, dx, dgamma, dbeta);
}

void CpuBackend::embedding(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                           ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) {
  ballast::embedding(pool_, samples, positions, tokens, token_table, position_table, x);
}

void CpuBackend::embedding_backward(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                    ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) {
  ballast::embedding_backward(pool_, samples, positions, tokens, dx, dtoken_table, dposition_table);
}

void CpuBackend::attention(const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp) {
  ballast::attention(pool_, shape, qkv, y, log_sum_exp);
}

void CpuBackend::attention_backward(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                                    ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  ballast::attention_backward(pool_, shape, qkv, y, dy, log_sum_exp, dqkv);
}

void CpuBackend::softmax_cross_entropy(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                       DeviceSpan log_sum_exp, LossSums& sums) {
  sums += ballast::softmax_cross_entropy(pool_, rows, logits, targets, log_sum_exp);
}

void CpuBackend::softmax_cross_entropy_backward(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                                ConstDeviceSpan log_sum_exp, float scale, DeviceSpan dlogits) {
  ballast::softmax_cross_entropy_backward(pool_, rows, logits, targets, log_sum_exp, scale, dlogits);
}

void CpuBackend::ordered_sum(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum) {
  ballast::ordered_sum(pool_, addends, tree, sum);
}

double CpuBackend::sum_of_squares(ConstDeviceSpan x) { return ballast::sum_of_squares(pool_, x); }

void CpuBackend::ordered_sum_and_squares(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                         DeviceSpan sum, std::span<const ElementRange> parts,
                                         std::span<double> squares) {
  ballast::ordered_sum_and_squares(pool_, addends, tree, sum, parts, squares);
}

void CpuBackend::compress(std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error, DeviceSpan code) {
  ballast::compress(pool_, blocks, x, error, code);
}

void CpuBackend::decompress(std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) {
  ballast::decompress(pool_, blocks, code, x);
}

UpdateSums CpuBackend::update(const UpdateRule& rule, const UpdateRun& run) {
  return ballast::update(pool_, rule, run);
}

void CpuBackend::update_parts(const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                              std::span<UpdateSums> sums) {
  ballast::update_parts(pool_, rule, run, parts, sums);
}

}  // namespace ballast
