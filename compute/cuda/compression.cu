// Defines: compress, decompress.
//
// A block of threads codes a block of floats, which it holds in shared memory from the first look to the last: global
// memory is read and written once.
#include <algorithm>
#include <climits>

#include "compute/cuda/kernels.h"
#include "compute/cuda/prelude.h"

namespace ballast::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kFloats = static_cast<int>(kMaxCodedElements);
constexpr int kDigits = 256;
constexpr std::uint32_t kSizeBits = 0x7FFFFFFFU;
constexpr std::uint32_t kInfinityBits = 0x7F800000U;
constexpr std::uint32_t kNan = 0x7FC00000U;

/// What a block of threads knows of its floats.
struct Shared {
  float x[kFloats];
  float scales[kFloats / kInt4Run];
  double totals[kWarps];
  std::uint32_t counts[kDigits];
  std::uint32_t prefix, left;
  std::uint32_t before[kWarps];
};

__device__ __forceinline__ std::uint32_t bits_of(float x) { return __float_as_uint(x); }
__device__ __forceinline__ std::uint32_t size_bits(float x) { return bits_of(x) & kSizeBits; }

/// Scales of runs of `run` floats, a warp for each in turn.
__device__ void find_scales(Shared& shared, int n, int run, float levels, std::uint32_t* code) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int r = warp; r * run < n; r += kWarps) {
    std::uint32_t largest = 0;
    for (int i = r * run + lane; i < min((r + 1) * run, n); i += kWarp) largest = max(largest, size_bits(shared.x[i]));
    for (int apart = kWarp / 2; apart > 0; apart /= 2) {
      largest = max(largest, __shfl_xor_sync(kFullWarp, largest, apart));
    }
    const std::uint32_t scale = largest >= kInfinityBits ? kNan : bits_of(__fdiv_rn(__uint_as_float(largest), levels));
    if (lane == 0) shared.scales[r] = __uint_as_float(scale);
    if (lane == 0) code[r] = scale;
  }
  __syncthreads();
}

/// round(x / scale), zero where the scale is zero or NaN. x becomes what is left of it.
__device__ __forceinline__ int take_level(float& x, float scale, float levels) {
  float q = 0.0F;
  if (scale > 0.0F) q = rintf(fminf(fmaxf(__fdiv_rn(x, scale), -levels), levels));
  x = __fsub_rn(x, __fmul_rn(q, scale));
  return static_cast<int>(q);
}

/// `kBits` of q + kOffset for each float.
template <int kBits, int kOffset>
__device__ void encode_levels(Shared& shared, int n, int run, float levels, std::uint32_t* code) {
  find_scales(shared, n, run, levels, code);
  code += (n + run - 1) / run;
  constexpr int kPerWord = 32 / kBits;
  for (int first = static_cast<int>(threadIdx.x) * kPerWord; first < n; first += kThreads * kPerWord) {
    std::uint32_t word = 0;
    for (int i = first; i < min(first + kPerWord, n); ++i) {
      const int q = take_level(shared.x[i], shared.scales[i / run], levels) + kOffset;
      word |= (static_cast<std::uint32_t>(q) & ((1U << kBits) - 1U)) << ((i - first) * kBits);
    }
    code[first / kPerWord] = word;
  }
}

__device__ void encode_sign(Shared& shared, int n, std::uint32_t* code) {
  double total = 0.0;
  for (int i = threadIdx.x; i < n; i += kThreads) total += static_cast<double>(fabsf(shared.x[i]));
  for (int apart = kWarp / 2; apart > 0; apart /= 2) total += __shfl_xor_sync(kFullWarp, total, apart);
  if (threadIdx.x % kWarp == 0) shared.totals[threadIdx.x / kWarp] = total;
  __syncthreads();
  total = 0.0;
  for (const double of_warp : shared.totals) total += of_warp;
  const float mean = static_cast<float>(total / static_cast<double>(n));
  if (threadIdx.x == 0) code[0] = bits_of(mean);
  for (int first = static_cast<int>(threadIdx.x) * 32; first < n; first += kThreads * 32) {
    std::uint32_t word = 0;
    for (int i = first; i < min(first + 32, n); ++i) {
      const std::uint32_t sign = bits_of(shared.x[i]) & ~kSizeBits;
      word |= sign >> (31 - (i - first));
      shared.x[i] = __fsub_rn(shared.x[i], __uint_as_float(bits_of(mean) | sign));
    }
    code[1 + first / 32] = word;
  }
}

/// The least of the `kept` largest sizes goes to shared.prefix, and how many of the kept have just this size to
/// shared.left: a search by digits of 8 bits, from the highest.
__device__ void find_threshold(Shared& shared, int n, int kept) {
  if (threadIdx.x == 0) {
    shared.prefix = 0;
    shared.left = static_cast<std::uint32_t>(kept);
  }
  for (int shift = 24; shift >= 0; shift -= 8) {
    shared.counts[threadIdx.x] = 0;
    __syncthreads();
    const std::uint32_t above = shift == 24 ? 0 : ~0U << (shift + 8);
    for (int i = threadIdx.x; i < n; i += kThreads) {
      const std::uint32_t size = size_bits(shared.x[i]);
      if ((size & above) == shared.prefix) atomicAdd(&shared.counts[size >> shift & (kDigits - 1)], 1U);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = kDigits - 1;
      while (shared.left > shared.counts[digit]) shared.left -= shared.counts[digit--];
      shared.prefix |= static_cast<std::uint32_t>(digit) << shift;
    }
    __syncthreads();
  }
}

/// The sum of `mine` over the threads before this one, and over all of them in `all`.
__device__ std::uint32_t sum_before(Shared& shared, std::uint32_t mine, std::uint32_t& all) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  std::uint32_t sum = mine;
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const std::uint32_t other = __shfl_up_sync(kFullWarp, sum, apart);
    if (lane >= apart) sum += other;
  }
  if (lane == kWarp - 1) shared.before[warp] = sum;
  __syncthreads();
  std::uint32_t before = sum - mine;
  all = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += shared.before[w];
    all += shared.before[w];
  }
  __syncthreads();
  return before;
}

/// Threads look at 256 neighbours at a time, so that the kept ones come out in rising order.
__device__ void encode_top_k(Shared& shared, int n, int kept, std::uint32_t* code) {
  find_threshold(shared, n, kept);
  const std::uint32_t threshold = shared.prefix, ties = shared.left;
  std::uint32_t seen_ties = 0, written = 0;
  for (int first = 0; first < n; first += kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const std::uint32_t size = i < n ? size_bits(shared.x[i]) : 0;
    const bool tie = i < n && size == threshold;
    std::uint32_t all_ties = 0, all_kept = 0;
    const std::uint32_t ties_before = sum_before(shared, tie ? 1 : 0, all_ties);
    const bool keep = i < n && (size > threshold || (tie && seen_ties + ties_before < ties));
    const std::uint32_t place = sum_before(shared, keep ? 1 : 0, all_kept);
    if (keep) {
      const std::uint32_t half = __bfloat16_as_ushort(__float2bfloat16_rn(shared.x[i]));
      code[written + place] = static_cast<std::uint32_t>(i) | half << 16;
      shared.x[i] = __fsub_rn(shared.x[i], __uint_as_float(half << 16));
    }
    seen_ties += all_ties;
    written += all_kept;
  }
}

__device__ void encode_bf16(Shared& shared, int n, std::uint32_t* code) {
  for (int first = static_cast<int>(threadIdx.x) * 2; first < n; first += kThreads * 2) {
    std::uint32_t word = 0;
    for (int i = first; i < min(first + 2, n); ++i) {
      const std::uint32_t half = __bfloat16_as_ushort(__float2bfloat16_rn(shared.x[i]));
      shared.x[i] = __fsub_rn(shared.x[i], __uint_as_float(half << 16));
      word |= half << ((i - first) * 16);
    }
    code[first / 2] = word;
  }
}

/// Cost of a float of int8 with error: 13 bytes, 5 FLOPs.
__global__ void __launch_bounds__(kThreads)
    compress_kernel(const CodedBlock* blocks, const float* x, float* error, std::uint32_t* code) {
  auto& shared = block_shared<Shared>();
  const CodedBlock block = blocks[blockIdx.x];
  const int n = static_cast<int>(block.elements.end - block.elements.begin);
  const float* from = x + block.elements.begin;
  float* left = error == nullptr ? nullptr : error + block.elements.begin;
  std::uint32_t* words = code + block.code;
  for (int i = threadIdx.x; i < n; i += kThreads) {
    shared.x[i] = left == nullptr ? from[i] : __fadd_rn(from[i], left[i]);
  }
  __syncthreads();
  switch (block.coding) {
    case Coding::kF32:
      for (int i = threadIdx.x; i < n; i += kThreads) {
        words[i] = bits_of(shared.x[i]);
        shared.x[i] = __fsub_rn(shared.x[i], shared.x[i]);
      }
      break;
    case Coding::kBF16:
      encode_bf16(shared, n, words);
      break;
    case Coding::kInt8:
      encode_levels<8, 0>(shared, n, kInt8Run, 127.0F, words);
      break;
    case Coding::kInt4:
      encode_levels<4, 8>(shared, n, kInt4Run, 7.0F, words);
      break;
    case Coding::kTopK:
      encode_top_k(shared, n, block.kept, words);
      break;
    case Coding::kSign:
      encode_sign(shared, n, words);
      break;
  }
  __syncthreads();
  if (left == nullptr) return;
  for (int i = threadIdx.x; i < n; i += kThreads) left[i] = shared.x[i];
}

__device__ __forceinline__ std::uint32_t field(const std::uint32_t* words, int i, int bits) {
  const int per_word = 32 / bits;
  return words[i / per_word] >> (i % per_word * bits) & ((1U << bits) - 1U);
}

/// Not of kTopK.
__device__ float decoded(const CodedBlock& block, const std::uint32_t* code, int i, int n) {
  switch (block.coding) {
    case Coding::kBF16:
      return __uint_as_float(field(code, i, 16) << 16);
    case Coding::kInt8: {
      const int q = static_cast<std::int8_t>(field(code + (n + kInt8Run - 1) / kInt8Run, i, 8));
      return __fmul_rn(static_cast<float>(q), __uint_as_float(code[i / kInt8Run]));
    }
    case Coding::kInt4: {
      const int q = static_cast<int>(field(code + (n + kInt4Run - 1) / kInt4Run, i, 4)) - 8;
      return __fmul_rn(static_cast<float>(q), __uint_as_float(code[i / kInt4Run]));
    }
    case Coding::kSign:
      return __uint_as_float(code[0] | (code[1 + i / 32] >> (i % 32) & 1U) << 31);
    default:
      return __uint_as_float(code[i]);
  }
}

/// `size`: of x. The block's zeros are those between the block before and this one, and behind the last.
/// Cost of a float of int8: 5 bytes, 1 FLOP.
__global__ void __launch_bounds__(kThreads)
    decompress_kernel(const CodedBlock* blocks, const std::uint32_t* code, float* x, std::int64_t size) {
  const CodedBlock block = blocks[blockIdx.x];
  const auto [begin, end] = block.elements;
  const int n = static_cast<int>(end - begin);
  const std::uint32_t* words = code + block.code;
  const std::int64_t end_before = blockIdx.x == 0 ? 0 : blocks[blockIdx.x - 1].elements.end;
  for (std::int64_t i = end_before + threadIdx.x; i < begin; i += kThreads) x[i] = 0.0F;
  if (blockIdx.x + 1 == gridDim.x) {
    for (std::int64_t i = end + threadIdx.x; i < size; i += kThreads) x[i] = 0.0F;
  }
  float* to = x + begin;
  const bool sparse = block.coding == Coding::kTopK;
  for (int i = threadIdx.x; i < n; i += kThreads) to[i] = sparse ? 0.0F : decoded(block, words, i, n);
  if (!sparse) return;  // the same for all threads
  __syncthreads();
  for (int i = threadIdx.x; i < block.kept; i += kThreads) {
    to[words[i] & 0xFFFFU] = __uint_as_float(words[i] & 0xFFFF0000U);
  }
}

const CodedBlock* on_device(Queue& queue, std::span<const CodedBlock> blocks) {
  auto* const list = static_cast<std::byte*>(queue.scratch(static_cast<std::int64_t>(blocks.size_bytes())));
  queue.upload(std::as_bytes(blocks), list);
  return reinterpret_cast<const CodedBlock*>(list);
}

}  // namespace

void compress(Queue& queue, std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error, DeviceSpan code) {
  require(x.dtype == DType::kF32 && code.dtype == DType::kI32, "compress: x is not f32 or code is not i32");
  require(error.empty() || (error.size == x.size && error.dtype == DType::kF32),
          "compress: the error is not f32 of the size of x");
  check_coded_blocks(blocks, x.size, code.size);
  if (blocks.empty()) return;
  launch(blocks_for(std::ssize(blocks), 1), kThreads, 0, queue.stream(), compress_kernel, on_device(queue, blocks),
         static_cast<const float*>(x.data), error.empty() ? nullptr : static_cast<float*>(error.data),
         static_cast<std::uint32_t*>(code.data));
}

void decompress(Queue& queue, std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) {
  require(x.dtype == DType::kF32 && code.dtype == DType::kI32, "decompress: x is not f32 or code is not i32");
  check_coded_blocks(blocks, x.size, code.size);
  if (blocks.empty()) {
    check(cudaMemsetAsync(x.data, 0, static_cast<std::size_t>(x.bytes()), queue.stream()));
    return;
  }
  launch(blocks_for(std::ssize(blocks), 1), kThreads, 0, queue.stream(), decompress_kernel, on_device(queue, blocks),
         static_cast<const std::uint32_t*>(code.data), static_cast<float*>(x.data), x.size);
}

}  // namespace ballast::cuda
