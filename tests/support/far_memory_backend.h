// Defines: FarMemoryBackend: a device that a machine without one can have.
//
// It computes as the cpu backend does, bit for bit, but its memory lies at addresses that nothing is mapped to: host
// code that touches it dies. And it is as late as a backend may be: calls only queue their work, synchronize() does it,
// in order. So host memory that is filled again too early, or results that are looked at too early, give other bits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compute/backend.h"

namespace ballast {

class FarMemoryBackend final : public Backend {
 public:
  explicit FarMemoryBackend(int threads) : cpu_(make_backend({.name = "cpu", .threads = threads})) {}
  FarMemoryBackend(const FarMemoryBackend&) = delete;
  FarMemoryBackend& operator=(const FarMemoryBackend&) = delete;
  ~FarMemoryBackend() override;

  [[nodiscard]] std::string name() const override { return "far"; }
  [[nodiscard]] std::string description() const override { return "far: " + cpu_->description(); }
  [[nodiscard]] int threads() const override { return cpu_->threads(); }
  [[nodiscard]] bool host_addressable() const override { return false; }
  void* allocate(std::int64_t bytes) override;
  void release(void* memory) noexcept override;
  void upload(std::span<const std::byte> host, DeviceSpan device) override;
  void download(ConstDeviceSpan device, std::span<std::byte> host) override;
  void zero(DeviceSpan x) override;
  void synchronize() override;

  void convert(ConstDeviceSpan from, DeviceSpan to) override;
  void add(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) override;
  void relu(ConstDeviceSpan x, DeviceSpan y) override;
  void relu_backward(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) override;
  void gelu(ConstDeviceSpan x, DeviceSpan y) override;
  void gelu_backward(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) override;
  void dropout(const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) override;

  void matmul(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
              DeviceSpan c) override;
  void bias_backward(std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) override;

  void conv2d(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) override;
  void conv2d_backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx) override;
  void conv2d_backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dw) override;
  void average_pool(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) override;
  void average_pool_backward(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy, DeviceSpan dx) override;

  void batch_norm(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip, ConstDeviceSpan gamma,
                  ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std, DeviceSpan var) override;
  void batch_norm_inference(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip, ConstDeviceSpan gamma,
                            ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan var, DeviceSpan y) override;
  void batch_norm_backward(const BatchNormShape& shape, const BatchNormGradients& tensors) override;
  void layer_norm(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y,
                  DeviceSpan mean, DeviceSpan inv_std) override;
  void layer_norm_backward(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy, ConstDeviceSpan gamma,
                           ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate, DeviceSpan dx,
                           DeviceSpan dgamma, DeviceSpan dbeta) override;

  void embedding(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens, ConstDeviceSpan token_table,
                 ConstDeviceSpan position_table, DeviceSpan x) override;
  void embedding_backward(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens, ConstDeviceSpan dx,
                          DeviceSpan dtoken_table, DeviceSpan dposition_table) override;
  void attention(const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp) override;
  void attention_backward(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y, ConstDeviceSpan dy,
                          ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) override;

  void softmax_cross_entropy(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets, DeviceSpan log_sum_exp,
                             LossSums& sums) override;
  void softmax_cross_entropy_backward(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                      ConstDeviceSpan log_sum_exp, float scale, DeviceSpan dlogits) override;

  void ordered_sum(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum) override;
  double sum_of_squares(ConstDeviceSpan x) override;
  void ordered_sum_and_squares(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum,
                               std::span<const ElementRange> parts, std::span<double> squares) override;
  void compress(std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error, DeviceSpan code) override;
  void decompress(std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) override;
  UpdateSums update(const UpdateRule& rule, const UpdateRun& run) override;
  void update_parts(const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                    std::span<UpdateSums> sums) override;

 private:
  void later(std::function<void(Backend&)> work) { queue_.push_back(std::move(work)); }

  std::unique_ptr<Backend> cpu_;
  std::vector<std::function<void(Backend&)>> queue_;
  std::vector<void*> released_;  ///< queued work may still use it
};

}  // namespace ballast
