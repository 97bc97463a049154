// Defines: compress, decompress.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/compression.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <bit>
#include <cstring>

#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

constexpr std::uint32_t kSizeBits = 0x7FFFFFFFU;  // all but the sign: floats without it are ordered as integers
constexpr std::uint32_t kInfinityBits = 0x7F800000U;

std::uint32_t size_bits(float x) { return std::bit_cast<std::uint32_t>(x) & kSizeBits; }

struct AsItIs {
  HWY_INLINE Vector operator()(Vector x) const { return x; }
};

/// max|x| / levels; NaN where one of them is not finite.
float scale_of(std::int64_t n, const float* x, float levels) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, size_bits(x[i]));
  if (largest >= kInfinityBits) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(largest) / levels;
}

HWY_INLINE void store_i8(Vector x, std::int8_t* to) {
  const hn::Rebind<std::int8_t, F32> d;
  hn::StoreU(hn::DemoteTo(d, hn::NearestInt(x)), d, to);
}

/// q = round(x / scale), zero where the scale is zero or NaN. `q` has room for a vector more than n.
void quantise(std::int64_t n, const float* x, float levels, float scale, std::int8_t* q) {
  if (!(scale > 0.0F)) {
    std::fill_n(q, n, std::int8_t{0});
    return;
  }
  const Vector divisor = constant(scale), most = constant(levels), least = constant(-levels);
  const auto q_of = [&](Vector v) { return hn::Min(hn::Max(hn::Div(v, divisor), least), most); };
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) store_i8(q_of(load(x + i)), q + i);
  if (i < n) store_i8(q_of(load_part(x + i, n - i)), q + i);
}

/// Scales to `scales` and q to `q`, run by run.
void quantise_runs(std::int64_t n, const float* x, std::int64_t run, float levels, float* scales, std::int8_t* q) {
  for (std::int64_t begin = 0; begin < n; begin += run) {
    const std::int64_t size = std::min(run, n - begin);
    const float scale = scale_of(size, x + begin, levels);
    scales[begin / run] = scale;
    quantise(size, x + begin, levels, scale, q + begin);
  }
}

void encode_int8(std::int64_t n, const float* x, std::uint32_t* code) {
  std::int8_t q[kMaxCodedElements + kMaxLanes];
  const std::int64_t scales = (n + kInt8Run - 1) / kInt8Run;
  quantise_runs(n, x, kInt8Run, 127.0F, reinterpret_cast<float*>(code), q);
  std::fill_n(q + n, 3, std::int8_t{0});
  std::memcpy(code + scales, q, static_cast<std::size_t>((n + 3) / 4 * 4));
}

void decode_int8(std::int64_t n, const std::uint32_t* code, float* x) {
  const std::int64_t scales = (n + kInt8Run - 1) / kInt8Run;
  const auto* const q = reinterpret_cast<const std::int8_t*>(code + scales);
  for (std::int64_t begin = 0; begin < n; begin += kInt8Run) {
    const float scale = std::bit_cast<float>(code[begin / kInt8Run]);
    const std::int64_t end = std::min(begin + kInt8Run, n);
    for (std::int64_t i = begin; i < end; ++i) x[i] = static_cast<float>(q[i]) * scale;
  }
}

void encode_int4(std::int64_t n, const float* x, std::uint32_t* code) {
  std::int8_t q[kMaxCodedElements + kMaxLanes];
  const std::int64_t scales = (n + kInt4Run - 1) / kInt4Run;
  quantise_runs(n, x, kInt4Run, 7.0F, reinterpret_cast<float*>(code), q);
  std::fill_n(q + n, 7, std::int8_t{-8});  // zeros behind the last one
  std::uint32_t* const words = code + scales;
  for (std::int64_t i = 0; i < n; i += 8) {
    std::uint32_t word = 0;
    for (std::int64_t j = 0; j < 8; ++j) word |= static_cast<std::uint32_t>(q[i + j] + 8) << (4 * j);
    words[i / 8] = word;
  }
}

void decode_int4(std::int64_t n, const std::uint32_t* code, float* x) {
  const std::uint32_t* const words = code + (n + kInt4Run - 1) / kInt4Run;
  for (std::int64_t begin = 0; begin < n; begin += kInt4Run) {
    const float scale = std::bit_cast<float>(code[begin / kInt4Run]);
    const std::int64_t end = std::min(begin + kInt4Run, n);
    for (std::int64_t i = begin; i < end; ++i) {
      const auto q = static_cast<std::int32_t>(words[i / 8] >> (i % 8 * 4) & 15U) - 8;
      x[i] = static_cast<float>(q) * scale;
    }
  }
}

float mean_size(std::int64_t n, const float* x) {
  constexpr std::int64_t kChains = 16;
  double chains[kChains] = {};
  std::int64_t i = 0;
  for (; i + kChains <= n; i += kChains) {
    for (std::int64_t c = 0; c < kChains; ++c) chains[c] += std::bit_cast<float>(size_bits(x[i + c]));
  }
  for (std::int64_t c = 0; i + c < n; ++c) chains[c] += std::bit_cast<float>(size_bits(x[i + c]));
  double sum = 0.0;
  for (const double chain : chains) sum += chain;
  return static_cast<float>(sum / static_cast<double>(n));
}

void encode_sign(std::int64_t n, const float* x, std::uint32_t* code) {
  code[0] = std::bit_cast<std::uint32_t>(mean_size(n, x));
  for (std::int64_t begin = 0; begin < n; begin += 32) {
    std::uint32_t word = 0;
    for (std::int64_t i = begin; i < std::min(begin + 32, n); ++i) {
      word |= std::bit_cast<std::uint32_t>(x[i]) >> 31U << (i - begin);
    }
    code[1 + begin / 32] = word;
  }
}

void decode_sign(std::int64_t n, const std::uint32_t* code, float* x) {
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = std::bit_cast<float>(code[0] | (code[1 + i / 32] >> (i % 32) & 1U) << 31U);
  }
}

/// The least of the `kept` largest sizes, as bits; `ties`: how many of the kept ones have just this size. A search by
/// digits, from the highest, of 11, 10 and 10 bits.
std::uint32_t threshold_of(std::int64_t n, const float* x, std::int64_t kept, std::int64_t& ties) {
  std::uint32_t prefix = 0, prefix_mask = 0;
  for (const int shift : {20, 10, 0}) {
    const std::uint32_t digit_mask = shift == 20 ? 2047U : 1023U;
    std::int32_t counts[2048] = {};
    for (std::int64_t i = 0; i < n; ++i) {
      const std::uint32_t bits = size_bits(x[i]);
      if ((bits & prefix_mask) == prefix) ++counts[bits >> shift & digit_mask];
    }
    std::uint32_t digit = digit_mask;
    while (kept > counts[digit]) kept -= counts[digit--];
    prefix |= digit << shift;
    prefix_mask |= digit_mask << shift;
  }
  ties = kept;
  return prefix;
}

void encode_top_k(std::int64_t n, std::int64_t kept, const float* x, std::uint32_t* code) {
  std::int64_t ties = 0;
  const std::uint32_t threshold = threshold_of(n, x, kept, ties);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = size_bits(x[i]);
    if (bits < threshold || (bits == threshold && ties-- <= 0)) continue;
    *code++ = static_cast<std::uint32_t>(i) | static_cast<std::uint32_t>(narrow(x[i])) << 16U;
  }
}

void decode_top_k(std::int64_t n, std::int64_t kept, const std::uint32_t* code, float* x) {
  std::fill_n(x, n, 0.0F);
  for (std::int64_t i = 0; i < kept; ++i) x[code[i] & 0xFFFFU] = std::bit_cast<float>(code[i] & 0xFFFF0000U);
}

void encode(const CodedBlock& block, const float* x, std::uint32_t* code) {
  const std::int64_t n = block.elements.end - block.elements.begin;
  switch (block.coding) {
    case Coding::kF32:
      std::memcpy(code, x, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case Coding::kBF16:
      code[(n - 1) / 2] = 0;
      return map(AsItIs(), n, reinterpret_cast<Bf16*>(code), x);
    case Coding::kInt8:
      return encode_int8(n, x, code);
    case Coding::kInt4:
      return encode_int4(n, x, code);
    case Coding::kTopK:
      return encode_top_k(n, block.kept, x, code);
    case Coding::kSign:
      return encode_sign(n, x, code);
  }
}

void decode(const CodedBlock& block, const std::uint32_t* code, float* x) {
  const std::int64_t n = block.elements.end - block.elements.begin;
  switch (block.coding) {
    case Coding::kF32:
      std::memcpy(x, code, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case Coding::kBF16:
      return map(AsItIs(), n, x, reinterpret_cast<const Bf16*>(code));
    case Coding::kInt8:
      return decode_int8(n, code, x);
    case Coding::kInt4:
      return decode_int4(n, code, x);
    case Coding::kTopK:
      return decode_top_k(n, block.kept, code, x);
    case Coding::kSign:
      return decode_sign(n, code, x);
  }
}

struct Subtract {
  HWY_INLINE Vector operator()(Vector a, Vector b) const { return hn::Sub(a, b); }
};

/// `error` may be null. `scratch` holds 2 kMaxCodedElements.
void compress_block(const CodedBlock& block, const float* x, float* error, float* scratch, std::uint32_t* code) {
  if (error == nullptr) return encode(block, x, code);
  const std::int64_t n = block.elements.end - block.elements.begin;
  float* const wanted = scratch;
  float* const coded = scratch + kMaxCodedElements;
  map(AddOne(), n, wanted, x, error);
  encode(block, wanted, code);
  decode(block, code, coded);
  map(Subtract(), n, error, wanted, coded);
}

/// x is the whole span. Zeros between the block before and this one, too.
void decompress_block(std::span<const CodedBlock> blocks, std::size_t number, const std::uint32_t* code, float* x) {
  const CodedBlock& block = blocks[number];
  const std::int64_t end_before = number == 0 ? 0 : blocks[number - 1].elements.end;
  std::fill(x + end_before, x + block.elements.begin, 0.0F);
  decode(block, code + block.code, x + block.elements.begin);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(compress_block);
HWY_EXPORT(decompress_block);

namespace {

constexpr std::int64_t kBlocksOfTask = 2;

}  // namespace

void compress(ThreadPool& pool, std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error,
              DeviceSpan code) {
  require(x.dtype == DType::kF32 && code.dtype == DType::kI32, "compress: x is not f32 or code is not i32");
  require(error.empty() || (error.size == x.size && error.dtype == DType::kF32),
          "compress: the error is not f32 of the size of x");
  check_coded_blocks(blocks, x.size, code.size);
  const auto* const from = static_cast<const float*>(x.data);
  auto* const errors = error.empty() ? nullptr : static_cast<float*>(error.data);
  auto* const words = static_cast<std::uint32_t*>(code.data);
  const auto kernel = HWY_DYNAMIC_DISPATCH(compress_block);
  constexpr std::int64_t kScratch = 2 * kMaxCodedElements;
  pool.run_ranges(std::ssize(blocks), kBlocksOfTask, [&](std::int64_t begin, std::int64_t end) {
    ScratchPool::Lease lease = pool.scratch().lend(ScratchPool::bytes_of<float>(kScratch));
    auto* const scratch = lease.take<float>(kScratch);
    for (const CodedBlock& block :
         blocks.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))) {
      const std::int64_t at = block.elements.begin;
      kernel(block, from + at, errors == nullptr ? nullptr : errors + at, scratch, words + block.code);
    }
  });
}

void decompress(ThreadPool& pool, std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) {
  require(x.dtype == DType::kF32 && code.dtype == DType::kI32, "decompress: x is not f32 or code is not i32");
  check_coded_blocks(blocks, x.size, code.size);
  const auto* const words = static_cast<const std::uint32_t*>(code.data);
  auto* const to = static_cast<float*>(x.data);
  const auto kernel = HWY_DYNAMIC_DISPATCH(decompress_block);
  pool.run_ranges(std::ssize(blocks), kBlocksOfTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) kernel(blocks, static_cast<std::size_t>(i), words, to);
  });
  std::fill(to + (blocks.empty() ? 0 : blocks.back().elements.end), to + x.size, 0.0F);
}

}  // namespace ballast
#endif
