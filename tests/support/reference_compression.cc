// ReferenceBackend: floats in fewer bits, one float after the other as compute/compression.h says. f32 only: a code is
// made of bits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/support/reference_backend.h"
#include "tests/support/reference_elements.h"

namespace ballast {
namespace {

using Floats = std::vector<float>;
using Words = std::vector<std::uint32_t>;

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
std::uint32_t size_of_float(float x) { return bits_of(x) & 0x7FFFFFFFU; }

/// Packs fields of `bits` bits, the first in the lowest.
Words packed(const std::vector<std::uint32_t>& fields, std::size_t bits) {
  const std::size_t per_word = 32 / bits;
  Words words((fields.size() + per_word - 1) / per_word, 0);
  for (std::size_t i = 0; i < fields.size(); ++i) words[i / per_word] |= fields[i] << (i % per_word * bits);
  return words;
}

std::uint32_t field(const std::uint32_t* words, std::size_t i, std::size_t bits) {
  const std::size_t per_word = 32 / bits;
  return words[i / per_word] >> (i % per_word * bits) & ((1U << bits) - 1U);
}

/// Codes of runs that share a scale. `offset` is added to q before its low bits are taken.
Words encode_runs(const Floats& x, std::size_t run, std::int32_t levels, std::int32_t offset, std::size_t bits) {
  Words words;
  std::vector<std::uint32_t> fields;
  for (std::size_t begin = 0; begin < x.size(); begin += run) {
    const auto end = std::min(begin + run, x.size());
    float largest = 0.0F;
    bool finite = true;
    for (std::size_t i = begin; i < end; ++i) {
      finite = finite && std::isfinite(x[i]);
      largest = std::max(largest, std::abs(x[i]));
    }
    const float scale = finite ? largest / static_cast<float>(levels) : std::numeric_limits<float>::quiet_NaN();
    words.push_back(bits_of(scale));
    for (std::size_t i = begin; i < end; ++i) {
      const float q = scale > 0.0F ? std::nearbyint(x[i] / scale) : 0.0F;
      const auto level = std::clamp(static_cast<std::int32_t>(q), -levels, levels);
      fields.push_back(static_cast<std::uint32_t>(level + offset) & ((1U << bits) - 1U));
    }
  }
  const std::size_t per_word = 32 / bits;
  while (fields.size() % per_word != 0) fields.push_back(0);
  const Words q = packed(fields, bits);
  words.insert(words.end(), q.begin(), q.end());
  return words;
}

Words encode_top_k(const Floats& x, std::size_t kept) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size_of_float(x[a]) > size_of_float(x[b]); });
  order.resize(kept);
  std::sort(order.begin(), order.end());
  Words words;
  for (const std::size_t i : order) {
    words.push_back(static_cast<std::uint32_t>(i) | static_cast<std::uint32_t>(double_to_bf16(x[i])) << 16U);
  }
  return words;
}

Words encode_sign(const Floats& x) {
  double sum = 0.0;
  std::vector<std::uint32_t> signs;
  for (const float value : x) {
    sum += std::abs(static_cast<double>(value));
    signs.push_back(bits_of(value) >> 31U);
  }
  Words words{bits_of(static_cast<float>(sum / static_cast<double>(x.size())))};
  const Words bits = packed(signs, 1);
  words.insert(words.end(), bits.begin(), bits.end());
  return words;
}

Words encode(const CodedBlock& block, const Floats& x) {
  std::vector<std::uint32_t> halves;
  switch (block.coding) {
    case Coding::kF32: {
      Words words;
      for (const float value : x) words.push_back(bits_of(value));
      return words;
    }
    case Coding::kBF16:
      for (const float value : x) halves.push_back(double_to_bf16(value));
      return packed(halves, 16);
    case Coding::kInt8:
      return encode_runs(x, kInt8Run, 127, 0, 8);
    case Coding::kInt4:
      return encode_runs(x, kInt4Run, 7, 8, 4);
    case Coding::kTopK:
      return encode_top_k(x, static_cast<std::size_t>(block.kept));
    case Coding::kSign:
      return encode_sign(x);
  }
  return {};
}

float decoded_element(const CodedBlock& block, const std::uint32_t* code, std::size_t i, std::size_t size) {
  switch (block.coding) {
    case Coding::kF32:
      return float_of(code[i]);
    case Coding::kBF16:
      return float_of(field(code, i, 16) << 16U);
    case Coding::kInt8: {
      const auto level = static_cast<std::int8_t>(field(code + (size + kInt8Run - 1) / kInt8Run, i, 8));
      return static_cast<float>(level) * float_of(code[i / kInt8Run]);
    }
    case Coding::kInt4: {
      const auto level = static_cast<std::int32_t>(field(code + (size + kInt4Run - 1) / kInt4Run, i, 4)) - 8;
      return static_cast<float>(level) * float_of(code[i / kInt4Run]);
    }
    case Coding::kTopK:
      for (std::int32_t k = 0; k < block.kept; ++k) {
        if ((code[k] & 0xFFFFU) == i) return float_of(code[k] & 0xFFFF0000U);
      }
      return 0.0F;
    case Coding::kSign:
      return float_of(code[0] | field(code + 1, i, 1) << 31U);
  }
  return 0.0F;
}

Floats decode(const CodedBlock& block, const std::uint32_t* code) {
  Floats x(static_cast<std::size_t>(block.elements.end - block.elements.begin));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = decoded_element(block, code, i, x.size());
  return x;
}

}  // namespace

void ReferenceBackend::compress(std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error,
                                DeviceSpan code) {
  for (const CodedBlock& block : blocks) {
    Floats wanted;
    for (std::int64_t i = block.elements.begin; i < block.elements.end; ++i) {
      const double before = error.empty() ? 0.0 : load(error, i);
      wanted.push_back(static_cast<float>(error.empty() ? load(x, i) : load(x, i) + before));
    }
    const Words words = encode(block, wanted);
    std::copy(words.begin(), words.end(), static_cast<std::uint32_t*>(code.data) + block.code);
    if (error.empty()) continue;
    const Floats coded = decode(block, words.data());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      store(error, block.elements.begin + static_cast<std::int64_t>(i), static_cast<double>(wanted[i]) - coded[i]);
    }
  }
}

void ReferenceBackend::decompress(std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) {
  for (std::int64_t i = 0; i < x.size; ++i) store(x, i, 0.0);
  for (const CodedBlock& block : blocks) {
    const Floats coded = decode(block, static_cast<const std::uint32_t*>(code.data) + block.code);
    for (std::size_t i = 0; i < coded.size(); ++i)
      store(x, block.elements.begin + static_cast<std::int64_t>(i), coded[i]);
  }
}

}  // namespace ballast
