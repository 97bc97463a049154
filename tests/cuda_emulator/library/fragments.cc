// The tensor-core product of one warp.
#include <bit>

#include "cuda_emulator/execution.h"

namespace cuda_emulator {
namespace {

struct Fragments {
  std::uint32_t a[4], b[2];
};

float bf16(std::uint32_t pair, int half) { return std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xffff0000u); }

}  // namespace

// With group g = lane / 4 and t = lane % 4, register pairs hold (PTX, "Matrix Fragments for mma.m16n8k16"):
//   a[i]: A[g + 8 (i % 2)][2 t + 8 (i / 2)] and its right neighbour;  b[i]: B[2 t + 8 i][g] and the one below;
//   d[i]: D[g + 8 (i / 2)][2 t + i % 2].
void multiply_fragments(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const WarpExchange exchange(WarpOperation::kMatrix, 0xffffffffu, mine, site);
  const int group = exchange.lane() / 4, t = exchange.lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int holder = k % 8 / 2, upper = k / 8;
      const auto row_of_a = exchange.from<Fragments>(4 * group + holder);
      const auto column_of_b = exchange.from<Fragments>(4 * column + holder);
      d[i] += bf16(row_of_a.a[i / 2 + 2 * upper], k % 2) * bf16(column_of_b.b[upper], k % 2);
    }
  }
}

}  // namespace cuda_emulator
