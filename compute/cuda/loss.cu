// Softmax cross-entropy. R = rows, V = classes (the vocabulary).
//
// Forward reads each logit once: a block per row, whose threads keep a running maximum and a sum of exponentials
// rescaled to it (Milakov and Gimelshein 2018), combined in a fixed order; the results of rows are then added by one
// block, in f64. Backward: a block per row.
#include <cfloat>
#include <cstring>

#include "compute/cuda/index_check.h"
#include "compute/cuda/layer_kernels.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kMostThreads = 256;
constexpr int kSumThreads = 512;

/// What is known of a part of a row: its largest logit, where that stands first, and the sum of exp(logit - top).
struct Softmax {
  float top = -FLT_MAX, total = 0.0F;
  int best = INT_MAX;

  template <int N>
  __device__ void add(const float (&x)[N], std::int64_t column) {
    for (int i = 0; i < N; ++i) {
      if (x[i] <= top) continue;
      total *= __expf(top - x[i]);
      top = x[i];
      best = static_cast<int>(column) + i;
    }
    for (int i = 0; i < N; ++i) total += __expf(x[i] - top);
  }

  __device__ void combine(float other_top, float other_total, int other_best) {
    const float larger = fmaxf(top, other_top);
    total = total * __expf(top - larger) + other_total * __expf(other_top - larger);
    if (other_top > top || (other_top == top && other_best < best)) best = other_best;
    top = larger;
  }

  __device__ void combine_warp() {
    for (int apart = kWarp / 2; apart > 0; apart /= 2) {
      const float other_top = __shfl_xor_sync(kFullWarp, top, apart);
      const float other_total = __shfl_xor_sync(kFullWarp, total, apart);
      const int other_best = __shfl_xor_sync(kFullWarp, best, apart);
      combine(other_top, other_total, other_best);
    }
  }
};

struct SoftmaxShared {
  float top[kMostThreads / kWarp], total[kMostThreads / kWarp];
  int best[kMostThreads / kWarp];
};

/// What a row adds to LossSums.
struct RowLoss {
  double loss;
  int counted, correct;
};

/// By one thread, once the whole row is known.
template <class T>
__device__ void finish_row(const Softmax& softmax, std::int64_t classes, const T* logits, std::int32_t target,
                           float* log_sum_exp, RowLoss* result) {
  const double log_total = static_cast<double>(softmax.top) + log(static_cast<double>(softmax.total));
  *log_sum_exp = static_cast<float>(log_total);
  const bool counted = target >= 0 && target < classes;  // check_indices() reports larger ones
  const double of_target = counted ? static_cast<double>(elements::to_float(logits[target])) : log_total;
  *result = {log_total - of_target, counted ? 1 : 0, counted && softmax.best == target ? 1 : 0};
}

/// Cost of a logit: e bytes, 3 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kMostThreads)
    forward_kernel(std::int64_t classes, const T* logits_RV, const std::int32_t* targets, float* log_sum_exp,
                   RowLoss* results) {
  auto& shared = block_shared<SoftmaxShared>();
  const std::int64_t row = blockIdx.x;
  const T* logits = logits_RV + row * classes;
  Softmax softmax;
  for (std::int64_t c = threadIdx.x * N; c < classes; c += static_cast<std::int64_t>(blockDim.x) * N) {
    float x[N];
    load_vector(logits + c, x);
    softmax.add(x, c);
  }
  softmax.combine_warp();
  const int warp = threadIdx.x / kWarp;
  if (threadIdx.x % kWarp == 0) {
    shared.top[warp] = softmax.top;
    shared.total[warp] = softmax.total;
    shared.best[warp] = softmax.best;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < static_cast<int>(blockDim.x) / kWarp; ++w) {
    softmax.combine(shared.top[w], shared.total[w], shared.best[w]);
  }
  finish_row(softmax, classes, logits, targets[row], log_sum_exp + row, results + row);
}

struct SumShared {
  double loss[kSumThreads];
  std::int64_t counted[kSumThreads], correct[kSumThreads];
};

/// One block: threads take rows in turn, then halve.
/// Cost of a row: 16 bytes, 1 FLOP.
__global__ void __launch_bounds__(kSumThreads) sum_kernel(std::int64_t rows, const RowLoss* results, LossSums* sums) {
  auto& shared = block_shared<SumShared>();
  const int thread = threadIdx.x;
  double loss = 0.0;
  std::int64_t counted = 0, correct = 0;
  for (std::int64_t row = thread; row < rows; row += kSumThreads) {
    loss += results[row].loss;
    counted += results[row].counted;
    correct += results[row].correct;
  }
  shared.loss[thread] = loss;
  shared.counted[thread] = counted;
  shared.correct[thread] = correct;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread >= half) continue;
    shared.loss[thread] += shared.loss[thread + half];
    shared.counted[thread] += shared.counted[thread + half];
    shared.correct[thread] += shared.correct[thread + half];
  }
  if (thread != 0) return;
  sums->loss = shared.loss[0];
  sums->rows = shared.counted[0];
  sums->correct = shared.correct[0];
}

/// dlogits may be logits: a thread reads its elements before it writes them.
/// Cost of a logit: 2e bytes, 4 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kMostThreads)
    backward_kernel(std::int64_t classes, const T* logits_RV, const std::int32_t* targets, const float* log_sum_exps,
                    float scale, T* dlogits_RV) {
  const std::int64_t row = blockIdx.x;
  const std::int32_t target = targets[row];
  const float log_sum_exp = log_sum_exps[row];
  for (std::int64_t c = threadIdx.x * N; c < classes; c += static_cast<std::int64_t>(blockDim.x) * N) {
    float x[N] = {};
    if (target >= 0) {
      load_vector(logits_RV + row * classes + c, x);
      for (int i = 0; i < N; ++i) {
        const float onehot = c + i == target ? 1.0F : 0.0F;
        x[i] = (__expf(x[i] - log_sum_exp) - onehot) * scale;
      }
    }
    store_vector(x, dlogits_RV + row * classes + c);
  }
}

/// V. Throws Error for arguments that do not fit together.
std::int64_t classes_of(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                        ConstDeviceSpan log_sum_exp) {
  require(rows > 0 && logits.size > 0 && logits.size % rows == 0,
          "softmax_cross_entropy: logits are not [rows, classes]");
  require(targets.size == rows && targets.dtype == DType::kI32, "softmax_cross_entropy: targets are not i32 [rows]");
  require(log_sum_exp.size == rows && log_sum_exp.dtype == DType::kF32,
          "softmax_cross_entropy: log_sum_exp is not f32 [rows]");
  return logits.size / rows;
}

/// Threads of a block: no more warps than a row has vectors for.
unsigned threads_for(std::int64_t classes, int n) {
  return static_cast<unsigned>(std::min<std::int64_t>(kMostThreads, ceil_div(classes, kWarp * n) * kWarp));
}

void check_targets(Queue& queue, ConstDeviceSpan targets, std::int64_t classes) {
  check_indices(queue, targets, INT32_MIN, classes, [classes](std::int32_t target) {
    return "target " + std::to_string(target) + " is outside the " + std::to_string(classes) +
           " classes of the model: check the labels of the data set and the width of the last layer";
  });
}

}  // namespace

void softmax_cross_entropy(Queue& queue, std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                           DeviceSpan log_sum_exp, LossSums& sums) {
  if (rows == 0) return;
  const std::int64_t classes = classes_of(rows, logits, targets, log_sum_exp);
  check_targets(queue, targets, classes);
  static_assert(sizeof(LossSums) <= 256);
  auto* const scratch = static_cast<std::byte*>(queue.scratch(256 + rows * static_cast<std::int64_t>(sizeof(RowLoss))));
  auto* const total = reinterpret_cast<LossSums*>(scratch);
  auto* const results = reinterpret_cast<RowLoss*>(scratch + 256);
  with_vectors(logits.dtype, classes, {logits.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    launch(blocks_for(rows, 1), threads_for(classes, N), 0, queue.stream(), forward_kernel<T, N>, classes,
           numbers<T>(logits), numbers<std::int32_t>(targets), numbers<float>(log_sum_exp), results);
  });
  launch(1, kSumThreads, 0, queue.stream(), sum_kernel, rows, results, total);
  queue.return_later(total, sizeof(LossSums), [&sums](const std::byte* bytes) {
    LossSums added;
    std::memcpy(&added, bytes, sizeof added);
    sums += added;
  });
}

void softmax_cross_entropy_backward(Queue& queue, std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                    ConstDeviceSpan log_sum_exp, float scale, DeviceSpan dlogits) {
  if (rows == 0) return;
  const std::int64_t classes = classes_of(rows, logits, targets, log_sum_exp);
  require(dlogits.size == logits.size && dlogits.dtype == logits.dtype,
          "softmax_cross_entropy_backward: dlogits and logits differ in size or type");
  with_vectors(logits.dtype, classes, {logits.data, dlogits.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    launch(blocks_for(rows, 1), threads_for(classes, N), 0, queue.stream(), backward_kernel<T, N>, classes,
           numbers<T>(logits), numbers<std::int32_t>(targets), numbers<float>(log_sum_exp), scale, numbers<T>(dlogits));
  });
}

}  // namespace ballast::cuda
