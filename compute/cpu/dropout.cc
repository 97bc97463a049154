// Defines: dropout: the mask that DropoutKey names, drawn again in backward instead of kept.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/dropout.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"
#include "compute/philox.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

/// 1 / (1 - rate) for kept elements, 0 for the others, of the 4 * lanes() elements whose counters begin at `counter`.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void draw_factors(const DropoutKey& key, std::uint32_t counter, std::uint32_t sample, float* factors) {
  const PhiloxBlock words = philox({counter, key.operation, key.step, sample}, key.seed);
  const float kept = 1.0F / (1.0F - key.rate);
  for (std::size_t i = 0; i < 4; ++i) factors[i] = uniform(words[i]) >= key.rate ? kept : 0.0F;
}
#else
using Words = hn::Vec<U32>;

/// The 64-bit products a * b of every lane, as two vectors of 32-bit halves.
HWY_INLINE void multiply_wide(Words a, Words b, Words& high, Words& low) {
  const U32 u;
  const hn::Repartition<std::uint64_t, U32> u64;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(u, hn::ShiftRight<32>(hn::BitCast(u64, a))), b);
  high = hn::OddEven(hn::BitCast(u, odd), hn::BitCast(u, hn::ShiftRight<32>(even)));
  low = hn::OddEven(hn::BitCast(u, hn::ShiftLeft<32>(odd)), hn::BitCast(u, even));
}

/// philox() of philox.h on as many counters as there are lanes.
HWY_INLINE void philox_lanes(std::uint64_t key, Words& c0, Words& c1, Words& c2, Words& c3) {
  const U32 u;
  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32);
  Words high0 = c0;
  Words low0 = c0;
  Words high2 = c0;
  Words low2 = c0;
  for (int round = 0; round < 10; ++round) {
    multiply_wide(c0, hn::Set(u, 0xD2511F53U), high0, low0);
    multiply_wide(c2, hn::Set(u, 0xCD9E8D57U), high2, low2);
    c0 = hn::Xor(hn::Xor(high2, c1), hn::Set(u, key0));
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(u, key1));
    c1 = low2;
    c3 = low0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

HWY_INLINE Vector factors_of(Words words, float rate) {
  const I32 i;
  const Vector drawn = hn::Mul(hn::ConvertTo(F32(), hn::BitCast(i, hn::ShiftRight<8>(words))), constant(0x1p-24F));
  return hn::IfThenElseZero(hn::Ge(drawn, constant(rate)), constant(1.0F / (1.0F - rate)));
}

/// Lane 4 b + j draws counter + j lanes() / 4 + b: then transposing 4 x 4 words within each block of four lanes, the
/// only transposition that every instruction set has, leaves vectors of neighbouring elements.
HWY_INLINE void draw_factors(const DropoutKey& key, std::uint32_t counter, std::uint32_t sample, float* factors) {
  const U32 u;
  const hn::Repartition<std::uint64_t, U32> u64;
  const std::int64_t step = lanes();
  const Words lane = hn::Iota(u, 0);
  const Words block = hn::ShiftRight<2>(lane);
  const Words within = hn::And(lane, hn::Set(u, 3U));
  const Words offset = hn::Add(block, hn::Mul(within, hn::Set(u, static_cast<std::uint32_t>(step / 4))));
  Words c0 = hn::Add(hn::Set(u, counter), offset);
  Words c1 = hn::Set(u, key.operation);
  Words c2 = hn::Set(u, key.step);
  Words c3 = hn::Set(u, sample);
  philox_lanes(key.seed, c0, c1, c2, c3);
  const auto low01 = hn::BitCast(u64, hn::InterleaveLower(u, c0, c1));
  const auto low23 = hn::BitCast(u64, hn::InterleaveLower(u, c2, c3));
  const auto high01 = hn::BitCast(u64, hn::InterleaveUpper(u, c0, c1));
  const auto high23 = hn::BitCast(u64, hn::InterleaveUpper(u, c2, c3));
  store(factors_of(hn::BitCast(u, hn::InterleaveLower(u64, low01, low23)), key.rate), factors);
  store(factors_of(hn::BitCast(u, hn::InterleaveUpper(u64, low01, low23)), key.rate), factors + step);
  store(factors_of(hn::BitCast(u, hn::InterleaveLower(u64, high01, high23)), key.rate), factors + 2 * step);
  store(factors_of(hn::BitCast(u, hn::InterleaveUpper(u64, high01, high23)), key.rate), factors + 3 * step);
}
#endif

/// A dropped element is zero whatever it was: infinity and NaN too.
struct Scale {
  HWY_INLINE Vector operator()(Vector x, Vector factor) const {
    return hn::IfThenZeroElse(hn::Eq(factor, constant(0.0F)), hn::Mul(x, factor));
  }
};

template <class T>
HWY_INLINE void dropout_elements(const DropoutKey& key, std::uint32_t sample, std::int64_t first, std::int64_t count,
                                 const T* x, T* y) {
  HWY_ALIGN float factors[4 * kMaxLanes];
  const std::int64_t group = 4 * lanes();
  for (std::int64_t i = 0; i < count; i += group) {
    draw_factors(key, static_cast<std::uint32_t>((first + i) / 4), sample, factors);
    map(Scale(), std::min(group, count - i), y + i, x + i, factors);
  }
}

/// Elements [first, first + x.size) of one sample; `first` is a multiple of 4.
void dropout_range(const DropoutKey& key, std::uint32_t sample, std::int64_t first, ConstDeviceSpan x, DeviceSpan y) {
  if (x.dtype == DType::kBF16) {
    dropout_elements(key, sample, first, x.size, static_cast<const Bf16*>(x.data), static_cast<Bf16*>(y.data));
  } else {
    dropout_elements(key, sample, first, x.size, static_cast<const float*>(x.data), static_cast<float*>(y.data));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(dropout_range);

void dropout(ThreadPool& pool, const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size && x.dtype == y.dtype, "dropout: the spans differ in size or type");
  require(samples >= 0 && (samples == 0 ? x.empty() : x.size % samples == 0),
          "dropout: x is not made of whole samples");
  require(key.rate >= 0.0F && key.rate < 1.0F, "dropout: the rate is not in [0, 1)");
  if (x.empty()) return;
  constexpr std::int64_t kChunk = 8192;  // elements of one sample, a multiple of 4
  const std::int64_t elements = x.size / samples;
  const std::int64_t chunks = (elements + kChunk - 1) / kChunk;
  const std::int64_t grain = std::max<std::int64_t>(1, kChunk / elements);
  const auto kernel = HWY_DYNAMIC_DISPATCH(dropout_range);
  pool.run_ranges(samples * chunks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t chunk = begin; chunk < end; ++chunk) {
      const std::int64_t sample = chunk / chunks;
      const std::int64_t first = chunk % chunks * kChunk;
      const std::int64_t offset = sample * elements + first;
      const std::int64_t count = std::min(kChunk, elements - first);
      kernel(key, key.first_sample + static_cast<std::uint32_t>(sample), first, x.subspan(offset, count),
             y.subspan(offset, count));
    }
  });
}

}  // namespace ballast
#endif
