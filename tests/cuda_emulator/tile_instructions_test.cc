// mma, ldmatrix and a matrix product of both against plain loops.
#include <ballast_device.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "tests/cuda_emulator/scenarios/scenario.h"

namespace cuda_emulator {
namespace {

using namespace scenarios;
using ballast::cuda::block_shared;
using ballast::cuda::load_matrix_x4;
using ballast::cuda::load_matrix_x4_transposed;
using ballast::cuda::mma_m16n8k16;

std::uint16_t bf16(float value) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16); }
float to_float(std::uint16_t value) { return std::bit_cast<float>(std::uint32_t{value} << 16); }

std::uint32_t pair(const std::uint16_t* first, int distance) { return first[0] | std::uint32_t{first[distance]} << 16; }

// D (16x8) = A (16x16, rows) B (16x8, rows), fragments filled by PTX's tables.
__global__ void __launch_bounds__(32) multiply_by_tables(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  const int group = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  std::uint32_t fragment_a[4], fragment_b[2];
  for (int i = 0; i < 4; ++i) fragment_a[i] = pair(a + (group + 8 * (i % 2)) * 16 + 2 * t + 8 * (i / 2), 1);
  for (int i = 0; i < 2; ++i) fragment_b[i] = pair(b + (2 * t + 8 * i) * 8 + group, 8);
  float sums[4] = {1, 1, 1, 1};
  mma_m16n8k16(sums, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) d[(group + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sums[i] - 1;
}

struct Tiles {
  alignas(16) std::uint16_t a[16][16];
  alignas(16) std::uint16_t b[16][16];
};

// The same, fragments by ldmatrix: A as it lies, B transposed; B has two tiles of 8 columns.
__global__ void __launch_bounds__(32) multiply_by_ldmatrix(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  auto& tiles = block_shared<Tiles>();
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32) tiles.a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 256; i += 32) tiles.b[i / 16][i % 16] = b[i];
  __syncthreads();
  std::uint32_t fragment_a[4], fragment_b[4];
  load_matrix_x4(fragment_a, &tiles.a[lane % 16][lane / 16 * 8]);
  load_matrix_x4_transposed(fragment_b, &tiles.b[lane % 16][lane / 16 * 8]);
  for (int tile = 0; tile < 2; ++tile) {
    float sums[4] = {};
    mma_m16n8k16(sums, fragment_a, {fragment_b[2 * tile], fragment_b[2 * tile + 1]});
    for (int i = 0; i < 4; ++i) d[(group + 8 * (i / 2)) * 16 + 8 * tile + 2 * t + i % 2] = sums[i];
  }
}

std::vector<std::uint16_t> values(int count, float step) {
  std::vector<std::uint16_t> result(count);
  for (int i = 0; i < count; ++i) result[i] = bf16(std::sin(step * static_cast<float>(i)));
  return result;
}

void expect_product(const std::vector<std::uint16_t>& a, const std::vector<std::uint16_t>& b,
                    const std::vector<float>& d, int columns) {
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < columns; ++column) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) sum += double{to_float(a[row * 16 + k])} * to_float(b[k * columns + column]);
      EXPECT_NEAR(d[row * columns + column], sum, 1e-5) << row << ", " << column;
    }
  }
}

TEST(TileInstructions, MultiplyWithTheFragmentsOfPtx) {
  const auto a = values(256, 0.37f), b = values(128, 0.21f);
  const DeviceArray<std::uint16_t> device_a(a), device_b(b);
  const DeviceArray<float> d(128);
  launch(1, 32, 0, nullptr, multiply_by_tables, device_a.data(), device_b.data(), d.data());
  expect_product(a, b, d.values(), 8);
}

TEST(TileInstructions, LoadTheFragmentsThatMultiplyTakes) {
  const auto a = values(256, 0.37f), b = values(256, 0.21f);
  const DeviceArray<std::uint16_t> device_a(a), device_b(b);
  const DeviceArray<float> d(256);
  launch(1, 32, 0, nullptr, multiply_by_ldmatrix, device_a.data(), device_b.data(), d.data());
  expect_product(a, b, d.values(), 16);
}

__global__ void __launch_bounds__(32) reduce_warp(int* result) {
  const int lane = static_cast<int>(threadIdx.x);
  const int sum = __reduce_add_sync(0xffffffffu, lane), most = __reduce_max_sync(0xffffffffu, lane);
  const unsigned odd = __ballot_sync(0xffffffffu, lane % 2);
  const int above = __shfl_down_sync(0xffffffffu, lane, 1), below = __shfl_up_sync(0xffffffffu, lane, 1);
  const int in_section = __shfl_sync(0xffffffffu, lane, 3, 8), sections = __shfl_xor_sync(0xffffffffu, lane, 9, 8);
  const bool right = sum == 496 && most == 31 && odd == 0xaaaaaaaau && above == (lane == 31 ? 31 : lane + 1) &&
                     below == (lane == 0 ? 0 : lane - 1) && in_section == lane / 8 * 8 + 3 &&
                     sections == ((lane ^ 9) / 8 > lane / 8 ? lane : lane ^ 9);
  result[lane] = right;
}

TEST(WarpOperations, GiveWhatTheProgrammingGuideSays) {
  const DeviceArray<int> result(32);
  launch(1, 32, 0, nullptr, reduce_warp, result.data());
  EXPECT_EQ(result.values(), std::vector<int>(32, 1));
}

}  // namespace
}  // namespace cuda_emulator
