// Defines: convert, add, relu, relu_backward, gelu, gelu_backward.
//
// A thread handles eight neighbouring elements: one load of 16 bytes for bf16, two for f32. Memory-bound: each input is
// read once and the output written once.
#include "compute/cuda/kernels.h"
#include "compute/cuda/prelude.h"
#include "compute/cuda/runs.h"

namespace ballast::cuda {

namespace {

constexpr int kRun = 8;
constexpr int kThreads = 256;

/// Cost of an element: 6 bytes, 0 FLOPs.
struct Copy {
  __device__ float operator()(float x) const { return x; }
};

/// Cost of an element: 3e bytes, 1 FLOP.
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};

// Both keep NaN: a comparison with NaN is false.
/// Cost of an element: 2e bytes, 0 FLOPs.
struct Relu {
  __device__ float operator()(float x) const { return x < 0.0F ? 0.0F : x; }
};

/// Cost of an element: 3e bytes, 0 FLOPs.
struct ReluBackward {
  __device__ float operator()(float y, float dy) const { return y <= 0.0F ? 0.0F : dy; }
};

constexpr float kRootTwoOverPi = 0.7978845608F;
constexpr float kCubic = 0.044715F;
constexpr float kBound = 9.5F;

/// x within [-kBound, kBound]: beyond, the gate below is 0 or 1 to 1e-33, and powers of x could overflow. Keeps NaN.
__device__ __forceinline__ float bounded(float x) { return fabsf(x) > kBound ? copysignf(kBound, x) : x; }

/// exp(-2u) for u = sqrt(2 / pi) (x + 0.044715 x^3). The gate (1 + tanh u) / 2 is 1 / (1 + exp(-2u)).
__device__ __forceinline__ float exp_minus_two_u(float x) {
  constexpr float kLinear = -2.0F * kRootTwoOverPi;
  return expf(x * fmaf(kLinear * kCubic, x * x, kLinear));
}

/// Cost of an element: 2e bytes, 7 FLOPs.
struct Gelu {
  __device__ float operator()(float x) const {
    const float e = exp_minus_two_u(bounded(x));
    return (x < -kBound ? -kBound : x) / (1.0F + e);
  }
};

/// d/dx of x s = s + x s (1 - s) d(2u)/dx for the gate s, with s (1 - s) = e s^2: no difference of numbers near 1.
/// Cost of an element: 3e bytes, 15 FLOPs.
struct GeluBackward {
  __device__ float operator()(float x, float dy) const {
    const float inner = bounded(x);
    const float e = exp_minus_two_u(inner);
    const float s = 1.0F / (1.0F + e);
    const float du = fmaf(6.0F * kRootTwoOverPi * kCubic, inner * inner, 2.0F * kRootTwoOverPi);
    return dy * (s + e * s * s * (inner * du));
  }
};

__device__ __forceinline__ std::int64_t first_of_thread() {
  return (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kRun;
}

/// y = op(x). Costs what Op says, as the next does.
template <class Op, class From, class To>
__global__ void __launch_bounds__(kThreads) map_one(std::int64_t size, bool aligned, const From* x, To* y) {
  const std::int64_t first = first_of_thread();
  if (first >= size) return;
  float elements[kRun];
  load_run(x + first, size - first, aligned, elements);
#pragma unroll
  for (float& element : elements) element = Op()(element);
  store_run(elements, size - first, aligned, y + first);
}

/// y = op(a, b). y may be a or b: a thread reads its elements before it writes them.
template <class Op, class T>
__global__ void __launch_bounds__(kThreads) map_two(std::int64_t size, bool aligned, const T* a, const T* b, T* y) {
  const std::int64_t first = first_of_thread();
  if (first >= size) return;
  float left[kRun];
  float right[kRun];
  load_run(a + first, size - first, aligned, left);
  load_run(b + first, size - first, aligned, right);
#pragma unroll
  for (int i = 0; i < kRun; ++i) left[i] = Op()(left[i], right[i]);
  store_run(left, size - first, aligned, y + first);
}

template <class Op, class From, class To>
void run_one(Queue& queue, ConstDeviceSpan x, DeviceSpan y) {
  if (y.empty()) return;
  launch(blocks_for(y.size, kRun * kThreads), kThreads, 0, queue.stream(), map_one<Op, From, To>, y.size,
         all_aligned({x.data, y.data}), static_cast<const From*>(x.data), static_cast<To*>(y.data));
}

template <class Op, class T>
void run_two(Queue& queue, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  if (y.empty()) return;
  launch(blocks_for(y.size, kRun * kThreads), kThreads, 0, queue.stream(), map_two<Op, T>, y.size,
         all_aligned({a.data, b.data, y.data}), static_cast<const T*>(a.data), static_cast<const T*>(b.data),
         static_cast<T*>(y.data));
}

bool is_compute_type(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

template <class Op>
void unary(Queue& queue, ConstDeviceSpan x, DeviceSpan y, const char* mistake) {
  require(x.size == y.size && x.dtype == y.dtype && is_compute_type(x.dtype), mistake);
  if (x.dtype == DType::kBF16) return run_one<Op, Bf16, Bf16>(queue, x, y);
  run_one<Op, float, float>(queue, x, y);
}

template <class Op>
void binary(Queue& queue, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y, const char* mistake) {
  require(a.size == y.size && b.size == y.size, mistake);
  require(a.dtype == y.dtype && b.dtype == y.dtype && is_compute_type(y.dtype), mistake);
  if (y.dtype == DType::kBF16) return run_two<Op, Bf16>(queue, a, b, y);
  run_two<Op, float>(queue, a, b, y);
}

}  // namespace

void convert(Queue& queue, ConstDeviceSpan from, DeviceSpan to) {
  require(from.size == to.size, "convert: the spans differ in size");
  if (from.dtype == to.dtype) {
    const auto bytes = static_cast<std::size_t>(to.bytes());
    if (bytes == 0 || from.data == to.data) return;
    return check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, queue.stream()));
  }
  require(is_compute_type(from.dtype) && is_compute_type(to.dtype), "convert: only f32 and bf16 convert");
  if (from.dtype == DType::kBF16) return run_one<Copy, Bf16, float>(queue, from, to);
  run_one<Copy, float, Bf16>(queue, from, to);
}

void add(Queue& queue, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  binary<Add>(queue, a, b, y, "add: the spans differ in size or type");
}

void relu(Queue& queue, ConstDeviceSpan x, DeviceSpan y) {
  unary<Relu>(queue, x, y, "relu: the spans differ in size or type");
}

void relu_backward(Queue& queue, ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) {
  binary<ReluBackward>(queue, y, dy, dx, "relu_backward: the spans differ in size or type");
}

void gelu(Queue& queue, ConstDeviceSpan x, DeviceSpan y) {
  unary<Gelu>(queue, x, y, "gelu: the spans differ in size or type");
}

void gelu_backward(Queue& queue, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  binary<GeluBackward>(queue, x, dy, dx, "gelu_backward: the spans differ in size or type");
}

}  // namespace ballast::cuda
