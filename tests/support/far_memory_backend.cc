#include "tests/support/far_memory_backend.h"

#include <algorithm>
#include <utility>

namespace ballast {
namespace {

// No system maps user memory there: neither with 47, 52 nor, in practice, 57 bits of address. Pages stay aligned.
constexpr std::uintptr_t kFar = std::uintptr_t{1} << 54;

void* far(void* memory) { return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(memory) + kFar); }
void* near(void* memory) { return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(memory) - kFar); }

DeviceSpan near(DeviceSpan x) {
  if (x.data != nullptr) x.data = near(x.data);
  return x;
}
ConstDeviceSpan near(ConstDeviceSpan x) { return near(DeviceSpan{const_cast<void*>(x.data), x.size, x.dtype}); }

std::vector<ConstDeviceSpan> near(std::span<const ConstDeviceSpan> spans) {
  std::vector<ConstDeviceSpan> all;
  for (const ConstDeviceSpan& span : spans) all.push_back(near(span));
  return all;
}

UpdateRun near(UpdateRun run) {
  run.value = near(run.value);
  run.compute = near(run.compute);
  run.gradient = near(run.gradient);
  for (DeviceSpan& state : run.state) state = near(state);
  return run;
}

template <class T>
std::vector<std::remove_const_t<T>> copied(std::span<T> values) {
  return {values.begin(), values.end()};
}

}  // namespace

FarMemoryBackend::~FarMemoryBackend() {
  for (void* memory : released_) cpu_->release(memory);
}

void* FarMemoryBackend::allocate(std::int64_t bytes) { return far(cpu_->allocate(bytes)); }

void FarMemoryBackend::release(void* memory) noexcept {
  if (memory != nullptr) released_.push_back(near(memory));
}

void FarMemoryBackend::synchronize() {
  for (const auto& work : std::exchange(queue_, {})) work(*cpu_);
  for (void* memory : std::exchange(released_, {})) cpu_->release(memory);
}

void FarMemoryBackend::upload(std::span<const std::byte> host, DeviceSpan device) {
  later([=](Backend& cpu) { cpu.upload(host, near(device)); });
}

void FarMemoryBackend::download(ConstDeviceSpan device, std::span<std::byte> host) {
  std::fill(host.begin(), host.end(), std::byte{0xff});  // NaN to whoever looks too early
  later([=](Backend& cpu) { cpu.download(near(device), host); });
}

void FarMemoryBackend::zero(DeviceSpan x) {
  later([=](Backend& cpu) { cpu.zero(near(x)); });
}

void FarMemoryBackend::convert(ConstDeviceSpan from, DeviceSpan to) {
  later([=](Backend& cpu) { cpu.convert(near(from), near(to)); });
}

void FarMemoryBackend::add(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  later([=](Backend& cpu) { cpu.add(near(a), near(b), near(y)); });
}

void FarMemoryBackend::relu(ConstDeviceSpan x, DeviceSpan y) {
  later([=](Backend& cpu) { cpu.relu(near(x), near(y)); });
}

void FarMemoryBackend::relu_backward(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) {
  later([=](Backend& cpu) { cpu.relu_backward(near(y), near(dy), near(dx)); });
}

void FarMemoryBackend::gelu(ConstDeviceSpan x, DeviceSpan y) {
  later([=](Backend& cpu) { cpu.gelu(near(x), near(y)); });
}

void FarMemoryBackend::gelu_backward(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  later([=](Backend& cpu) { cpu.gelu_backward(near(x), near(dy), near(dx)); });
}

void FarMemoryBackend::dropout(const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  later([=](Backend& cpu) { cpu.dropout(key, samples, near(x), near(y)); });
}

void FarMemoryBackend::matmul(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                              DeviceSpan c) {
  later([=](Backend& cpu) { cpu.matmul(shape, near(a), near(b), near(bias), near(c)); });
}

void FarMemoryBackend::bias_backward(std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) {
  later([=](Backend& cpu) { cpu.bias_backward(rows, near(dy), near(dbias)); });
}

void FarMemoryBackend::conv2d(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  later([=](Backend& cpu) { cpu.conv2d(shape, near(x), near(w), near(y)); });
}

void FarMemoryBackend::conv2d_backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w,
                                            DeviceSpan dx) {
  later([=](Backend& cpu) { cpu.conv2d_backward_data(shape, near(dy), near(w), near(dx)); });
}

void FarMemoryBackend::conv2d_backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy,
                                               DeviceSpan dw) {
  later([=](Backend& cpu) { cpu.conv2d_backward_weights(shape, near(x), near(dy), near(dw)); });
}

void FarMemoryBackend::average_pool(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) {
  later([=](Backend& cpu) { cpu.average_pool(samples, pixels, near(x), near(y)); });
}

void FarMemoryBackend::average_pool_backward(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy,
                                             DeviceSpan dx) {
  later([=](Backend& cpu) { cpu.average_pool_backward(samples, pixels, near(dy), near(dx)); });
}

void FarMemoryBackend::batch_norm(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                  ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean,
                                  DeviceSpan inv_std, DeviceSpan var) {
  later([=](Backend& cpu) {
    cpu.batch_norm(shape, near(x), near(skip), near(gamma), near(beta), near(y), near(mean), near(inv_std), near(var));
  });
}

void FarMemoryBackend::batch_norm_inference(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                            ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean,
                                            ConstDeviceSpan var, DeviceSpan y) {
  later([=](Backend& cpu) {
    cpu.batch_norm_inference(shape, near(x), near(skip), near(gamma), near(beta), near(mean), near(var), near(y));
  });
}

void FarMemoryBackend::layer_norm(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                                  DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) {
  later([=](Backend& cpu) {
    cpu.layer_norm(rows, near(x), near(gamma), near(beta), near(y), near(mean), near(inv_std));
  });
}

void FarMemoryBackend::layer_norm_backward(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy,
                                           ConstDeviceSpan gamma, ConstDeviceSpan mean, ConstDeviceSpan inv_std,
                                           bool accumulate, DeviceSpan dx, DeviceSpan dgamma, DeviceSpan dbeta) {
  later([=](Backend& cpu) {
    cpu.layer_norm_backward(rows, near(x), near(dy), near(gamma), near(mean), near(inv_std), accumulate, near(dx),
                            near(dgamma), near(dbeta));
  });
}

void FarMemoryBackend::embedding(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                 ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) {
  later([=](Backend& cpu) {
    cpu.embedding(samples, positions, near(tokens), near(token_table), near(position_table), near(x));
  });
}

void FarMemoryBackend::embedding_backward(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                          ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) {
  later([=](Backend& cpu) {
    cpu.embedding_backward(samples, positions, near(tokens), near(dx), near(dtoken_table), near(dposition_table));
  });
}

void FarMemoryBackend::attention(const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y,
                                 DeviceSpan log_sum_exp) {
  later([=](Backend& cpu) { cpu.attention(shape, near(qkv), near(y), near(log_sum_exp)); });
}

void FarMemoryBackend::attention_backward(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                                          ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  later([=](Backend& cpu) {
    cpu.attention_backward(shape, near(qkv), near(y), near(dy), near(log_sum_exp), near(dqkv));
  });
}

void FarMemoryBackend::softmax_cross_entropy_backward(std::int64_t rows, ConstDeviceSpan logits,
                                                      ConstDeviceSpan targets, ConstDeviceSpan log_sum_exp, float scale,
                                                      DeviceSpan dlogits) {
  later([=](Backend& cpu) {
    cpu.softmax_cross_entropy_backward(rows, near(logits), near(targets), near(log_sum_exp), scale, near(dlogits));
  });
}

void FarMemoryBackend::batch_norm_backward(const BatchNormShape& shape, const BatchNormGradients& tensors) {
  BatchNormGradients t = tensors;
  for (ConstDeviceSpan* span : {&t.x, &t.y, &t.dy, &t.gamma, &t.beta, &t.mean, &t.inv_std}) *span = near(*span);
  for (DeviceSpan* span : {&t.dx, &t.dskip, &t.dgamma, &t.dbeta}) *span = near(*span);
  later([=](Backend& cpu) { cpu.batch_norm_backward(shape, t); });
}

void FarMemoryBackend::softmax_cross_entropy(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                             DeviceSpan log_sum_exp, LossSums& sums) {
  later([=, &sums](Backend& cpu) {
    cpu.softmax_cross_entropy(rows, near(logits), near(targets), near(log_sum_exp), sums);
  });
}

void FarMemoryBackend::ordered_sum(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                   DeviceSpan sum) {
  later(
      [addends = near(addends), tree = copied(tree), sum](Backend& cpu) { cpu.ordered_sum(addends, tree, near(sum)); });
}

double FarMemoryBackend::sum_of_squares(ConstDeviceSpan x) {
  synchronize();
  return cpu_->sum_of_squares(near(x));
}

void FarMemoryBackend::ordered_sum_and_squares(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                               DeviceSpan sum, std::span<const ElementRange> parts,
                                               std::span<double> squares) {
  later([addends = near(addends), tree = copied(tree), sum, parts = copied(parts), squares](Backend& cpu) {
    cpu.ordered_sum_and_squares(addends, tree, near(sum), parts, squares);
  });
}

void FarMemoryBackend::compress(std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error,
                                DeviceSpan code) {
  later([=, blocks = copied(blocks)](Backend& cpu) { cpu.compress(blocks, near(x), near(error), near(code)); });
}

void FarMemoryBackend::decompress(std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) {
  later([=, blocks = copied(blocks)](Backend& cpu) { cpu.decompress(blocks, near(code), near(x)); });
}

UpdateSums FarMemoryBackend::update(const UpdateRule& rule, const UpdateRun& run) {
  if (!rule.want_sums) {
    later([=](Backend& cpu) { cpu.update(rule, near(run)); });
    return {};
  }
  synchronize();
  return cpu_->update(rule, near(run));
}

void FarMemoryBackend::update_parts(const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                                    std::span<UpdateSums> sums) {
  later([=, parts = copied(parts)](Backend& cpu) { cpu.update_parts(rule, near(run), parts, sums); });
}

}  // namespace ballast
