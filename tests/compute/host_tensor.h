// Defines: HostTensor: numbers of a test on the host, as an f32 or bf16 backend holds them; DeviceTensor: the same in a
// backend's memory.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/philox.h"
#include "compute/tensor.h"

namespace ballast {

/// The nearest bf16, ties to even. Finite numbers only.
inline std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

inline float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<float> values;  ///< each is representable in dtype

  /// Uniform in [-1, 1): sums of products cancel, so that rounding shows.
  static HostTensor random(std::int64_t size, DType dtype, std::uint64_t key) {
    HostTensor tensor{dtype, std::vector<float>(static_cast<std::size_t>(size))};
    PhiloxBlock words{};
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      if (i % 4 == 0) words = philox({static_cast<std::uint32_t>(i / 4)}, key);
      const float value = 2.0F * uniform(words[i % 4]) - 1.0F;
      tensor.values[i] = dtype == DType::kBF16 ? from_bf16(to_bf16(value)) : value;
    }
    return tensor;
  }

  [[nodiscard]] std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(values.size() * static_cast<std::size_t>(size_of(dtype)));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t half = to_bf16(values[i]);
      const void* from = dtype == DType::kBF16 ? static_cast<const void*>(&half) : &values[i];
      const auto width = static_cast<std::size_t>(size_of(dtype));
      std::memcpy(out.data() + i * width, from, width);
    }
    return out;
  }

  static HostTensor of_bytes(std::span<const std::byte> bytes, DType dtype) {
    const auto width = static_cast<std::size_t>(size_of(dtype));
    HostTensor tensor{dtype, std::vector<float>(bytes.size() / width)};
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      std::uint16_t half = 0;
      std::memcpy(dtype == DType::kBF16 ? static_cast<void*>(&half) : &tensor.values[i], &bytes[i * width], width);
      if (dtype == DType::kBF16) tensor.values[i] = from_bf16(half);
    }
    return tensor;
  }
};

class DeviceTensor {
 public:
  DeviceTensor(Backend& backend, const HostTensor& host)
      : backend_(backend), buffer_(backend, static_cast<std::int64_t>(host.values.size()), host.dtype) {
    backend.upload(host.bytes(), buffer_.span());
  }
  [[nodiscard]] DeviceSpan span() const { return buffer_.span(); }
  [[nodiscard]] std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(static_cast<std::size_t>(span().bytes()));
    backend_.download(span(), out);
    backend_.synchronize();
    return out;
  }

 private:
  Backend& backend_;
  Buffer buffer_;
};

}  // namespace ballast
