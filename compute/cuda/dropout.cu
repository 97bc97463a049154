// Defines: dropout: the mask that DropoutKey names, drawn again in backward instead of kept.
//
// A thread handles eight neighbouring elements of one sample: two counters of Philox. Memory-bound on current devices.
#include "compute/cuda/kernels.h"
#include "compute/cuda/prelude.h"
#include "compute/cuda/runs.h"

namespace ballast::cuda {

namespace {

constexpr int kRun = 8;
constexpr int kThreads = 256;

/// philox() of compute/philox.h.
__device__ __forceinline__ uint4 philox_block(uint4 counter, std::uint64_t key) {
  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * counter.x;
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * counter.z;
    counter =
        make_uint4(static_cast<std::uint32_t>(product1 >> 32) ^ counter.y ^ key0, static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter.w ^ key1, static_cast<std::uint32_t>(product0));
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

/// A dropped element is zero whatever it was: infinity and NaN too.
__device__ __forceinline__ float dropped(float x, std::uint32_t word, float rate, float scale) {
  return static_cast<float>(word >> 8) * 0x1p-24F >= rate ? x * scale : 0.0F;
}

/// `scale` = 1 / (1 - rate). `runs`: how many runs of eight elements a sample has, the last one perhaps shorter.
/// Cost of an element: 2e bytes, 2 FLOPs.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout_runs(DropoutKey key, float scale, std::int64_t samples, std::int64_t runs, std::int64_t elements,
                 bool aligned, const T* x, T* y) {
  const std::int64_t run = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t sample = run / runs;
  if (sample >= samples) return;
  const std::int64_t first = (run - sample * runs) * kRun;
  const std::int64_t offset = sample * elements + first;
  float values[kRun];
  load_run(x + offset, elements - first, aligned, values);
#pragma unroll
  for (int i = 0; i < kRun; i += 4) {
    const uint4 counter = make_uint4(static_cast<std::uint32_t>((first + i) / 4), key.operation, key.step,
                                     key.first_sample + static_cast<std::uint32_t>(sample));
    const uint4 words = philox_block(counter, key.seed);
    values[i] = dropped(values[i], words.x, key.rate, scale);
    values[i + 1] = dropped(values[i + 1], words.y, key.rate, scale);
    values[i + 2] = dropped(values[i + 2], words.z, key.rate, scale);
    values[i + 3] = dropped(values[i + 3], words.w, key.rate, scale);
  }
  store_run(values, elements - first, aligned, y + offset);
}

template <class T>
void run(Queue& queue, const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  const std::int64_t elements = x.size / samples;
  const std::int64_t runs = (elements + kRun - 1) / kRun;
  launch(blocks_for(samples * runs, kThreads), kThreads, 0, queue.stream(), dropout_runs<T>, key,
         1.0F / (1.0F - key.rate), samples, runs, elements, elements % kRun == 0 && all_aligned({x.data, y.data}),
         static_cast<const T*>(x.data), static_cast<T*>(y.data));
}

}  // namespace

void dropout(Queue& queue, const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size && x.dtype == y.dtype, "dropout: the spans differ in size or type");
  require(samples >= 0 && (samples == 0 ? x.empty() : x.size % samples == 0),
          "dropout: x is not made of whole samples");
  require(key.rate >= 0.0F && key.rate < 1.0F, "dropout: the rate is not in [0, 1)");
  if (x.empty()) return;
  if (x.dtype == DType::kBF16) return run<Bf16>(queue, key, samples, x, y);
  run<float>(queue, key, samples, x, y);
}

}  // namespace ballast::cuda
