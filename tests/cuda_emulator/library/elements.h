// Numbers of f32 and bf16 in memory, as libraries read and write them.
#pragma once

#include <library_types.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cuda_emulator {

inline std::size_t element_bytes(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

inline std::uint16_t to_bf16(float value) {  // to nearest, ties to even
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline float load(const std::byte* matrix, cudaDataType type, std::size_t index) {
  if (type == CUDA_R_32F) {
    float value;
    std::memcpy(&value, matrix + 4 * index, 4);
    return value;
  }
  std::uint16_t half;
  std::memcpy(&half, matrix + 2 * index, 2);
  return std::bit_cast<float>(std::uint32_t{half} << 16);
}

inline void store(std::byte* matrix, cudaDataType type, std::size_t index, float value) {
  if (type == CUDA_R_32F) {
    std::memcpy(matrix + 4 * index, &value, 4);
  } else {
    const std::uint16_t half = to_bf16(value);
    std::memcpy(matrix + 2 * index, &half, 2);
  }
}

}  // namespace cuda_emulator
