// Defines: ordered_sum, sum_of_squares, ordered_sum_and_squares.
//
// One pass: each addend is read once, the sum is written once, and the squares are taken from registers.
#include <algorithm>

#include "compute/cuda/kernels.h"
#include "compute/cuda/piece_kernels.h"
#include "compute/cuda/prelude.h"
#include "compute/cuda/runs.h"
#include "compute/sum_tree.h"

namespace ballast::cuda {

namespace {

constexpr int kMaxAddends = 256;  // so that a program fits into a kernel's parameters
constexpr int kMaxLevels = 12;    // so that the partial sums fit into shared memory: the highest is in registers
static_assert(
    (kMaxLevels - 1) * kPieceThreads * sizeof(float4) + sizeof(WarpTotals) <= 48 << 10,
    "a kernel's shared memory, of fixed and of given size together, is at most 48 KiB unless it asks for more");

/// A program of ordered_sum as a kernel's parameter.
struct Program {
  const float* addends[kMaxAddends];
  std::int16_t steps[2 * kMaxAddends - 1];  ///< i >= 0: push addend i; -1: add the two on top
  std::int16_t size;
};

using Four = float[kPieceRun];

__device__ __forceinline__ void add_to(const float4& left, Four& right) {
  right[0] = left.x + right[0];
  right[1] = left.y + right[1];
  right[2] = left.z + right[2];
  right[3] = left.w + right[3];
}

/// top = the program's sum for the elements that begin at `at`. `waiting` holds the partial sums below the top, of this
/// thread alone: level l at waiting[l * kPieceThreads].
__device__ __forceinline__ void run_program(const Program& program, std::int64_t at, std::int64_t count, bool aligned,
                                            float4* waiting, Four& top) {
  int level = -1;
  for (int i = 0; i < program.size; ++i) {
    const int step = program.steps[i];
    if (step < 0) {
      --level;
      add_to(waiting[level * kPieceThreads], top);
      continue;
    }
    if (level >= 0) waiting[level * kPieceThreads] = make_float4(top[0], top[1], top[2], top[3]);
    ++level;
    load_run(program.addends[step] + at, count, aligned, top);
  }
}

__device__ __forceinline__ double squares_of(const Four& x) {
  double total = 0.0;
#pragma unroll
  for (int i = 0; i < kPieceRun; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

/// sum = the program's sum on every piece; squares[piece] = sum of its squares unless `squares` is null. `sum` may be
/// an addend: a thread reads all addends of its elements before it writes them.
/// Cost of an element of n addends: 4 n + 4 bytes, n + 1 FLOPs. Up to 45056 bytes of dynamic shared memory.
__global__ void __launch_bounds__(kPieceThreads)
    sum_pieces(const __grid_constant__ Program program, Pieces pieces, bool aligned, float* sum, double* squares) {
  auto& totals = block_shared<WarpTotals>();
  float4* const waiting = dynamic_shared<float4>() + threadIdx.x;
  const ElementRange piece = piece_of_block(pieces);
  const bool whole = aligned && piece.begin % kPieceRun == 0;
  double square = 0.0;
  for (std::int64_t at = piece.begin + threadIdx.x * kPieceRun; at < piece.end; at += kPieceThreads * kPieceRun) {
    Four top = {};
    run_program(program, at, piece.end - at, whole, waiting, top);
    store_run(top, piece.end - at, whole, sum + at);
    square += squares_of(top);
  }
  const double total = add_block(square, totals);
  if (squares != nullptr && threadIdx.x == 0) squares[blockIdx.x] = total;
}

/// The same squares of what is there already.
/// Cost of an element: 4 bytes, 2 FLOPs.
__global__ void __launch_bounds__(kPieceThreads)
    square_pieces(Pieces pieces, bool aligned, const float* x, double* squares) {
  auto& totals = block_shared<WarpTotals>();
  const ElementRange piece = piece_of_block(pieces);
  const bool whole = aligned && piece.begin % kPieceRun == 0;
  double square = 0.0;
  for (std::int64_t at = piece.begin + threadIdx.x * kPieceRun; at < piece.end; at += kPieceThreads * kPieceRun) {
    Four values;
    load_run(x + at, piece.end - at, whole, values);
    square += squares_of(values);
  }
  const double total = add_block(square, totals);
  if (threadIdx.x == 0) squares[blockIdx.x] = total;
}

Program program_of(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum) {
  require(sum.dtype == DType::kF32, "ordered_sum: the sum is not f32");
  require(addends.size() <= kMaxAddends, "ordered_sum: the CUDA backend adds at most 256 addends");
  require(tree.size() <= 2 * kMaxAddends - 1, "ordered_sum: the tree is longer than its addends allow");
  Program program{};
  for (std::size_t i = 0; i < addends.size(); ++i) {
    require(addends[i].size == sum.size && addends[i].dtype == DType::kF32,
            "ordered_sum: an addend differs from the sum in size or type");
    program.addends[i] = static_cast<const float*>(addends[i].data);
  }
  for (std::size_t i = 0; i < tree.size(); ++i) program.steps[i] = static_cast<std::int16_t>(tree[i]);
  program.size = static_cast<std::int16_t>(tree.size());
  return program;
}

bool can_load_whole(std::span<const ConstDeviceSpan> addends, DeviceSpan sum) {
  bool aligned = all_aligned({sum.data});
  for (const ConstDeviceSpan& addend : addends) aligned = aligned && all_aligned({addend.data});
  return aligned;
}

void run(Queue& queue, std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum, dim3 grid,
         const Pieces& pieces, double* squares) {
  const std::size_t levels = levels_of_sum_tree(addends.size(), tree);
  require(levels <= kMaxLevels, "ordered_sum: the tree holds more than 12 partial sums at once");
  const std::size_t waiting = std::max<std::size_t>(levels, 2) - 1;
  launch(grid, kPieceThreads, waiting * kPieceThreads * sizeof(float4), queue.stream(), sum_pieces,
         program_of(addends, tree, sum), pieces, can_load_whole(addends, sum), static_cast<float*>(sum.data), squares);
}

void check_parts(std::span<const ElementRange> parts, std::int64_t size) {
  std::int64_t before = 0;
  for (const auto& [begin, end] : parts) {
    require(before <= begin && begin <= end && end <= size,
            "ordered_sum_and_squares: parts must be in rising order, apart and inside the sum");
    before = end;
  }
}

/// Adds what pieces gave to what their parts get, in the order of the pieces, once it is on the host.
void add_up_later(Queue& queue, const PieceList& list, const double* of_pieces, std::span<double> of_parts) {
  const auto bytes = static_cast<std::size_t>(list.count()) * sizeof(double);
  queue.return_later(of_pieces, bytes, [owners = list.owners(), of_parts](const std::byte* returned) {
    const auto* const values = reinterpret_cast<const double*>(returned);
    for (std::size_t i = 0; i < owners.size(); ++i) {
      if (owners[i] >= 0) of_parts[static_cast<std::size_t>(owners[i])] += values[i];
    }
  });
}

}  // namespace

void ordered_sum(Queue& queue, std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum) {
  if (sum.empty()) return;
  run(queue, addends, tree, sum, PieceList::whole(sum.size).grid(), Pieces{nullptr, sum.size}, nullptr);
}

void ordered_sum_and_squares(Queue& queue, std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                             DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares) {
  require(parts.size() == squares.size(), "ordered_sum_and_squares: parts and squares differ in number");
  check_parts(parts, sum.size);
  std::fill(squares.begin(), squares.end(), 0.0);
  if (sum.empty()) return;
  const PieceList list = PieceList::of_parts_and_gaps(parts, sum.size);
  const auto [pieces, results] = list.on_device(queue, list.count() * size_of(DType::kF64));
  run(queue, addends, tree, sum, list.grid(), pieces, static_cast<double*>(results));
  add_up_later(queue, list, static_cast<double*>(results), squares);
}

double sum_of_squares(Queue& queue, ConstDeviceSpan x) {
  require(x.dtype == DType::kF32, "sum_of_squares: x is not f32");
  double total = 0.0;
  if (x.empty()) return total;
  const PieceList list = PieceList::whole(x.size);
  const auto [pieces, results] = list.on_device(queue, list.count() * size_of(DType::kF64));
  launch(list.grid(), kPieceThreads, 0, queue.stream(), square_pieces, pieces, all_aligned({x.data}),
         static_cast<const float*>(x.data), static_cast<double*>(results));
  add_up_later(queue, list, static_cast<double*>(results), {&total, 1});
  queue.synchronize();
  return total;
}

}  // namespace ballast::cuda
