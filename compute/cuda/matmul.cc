#include "compute/cuda/matmul.h"

#include <algorithm>
#include <cstddef>
#include <source_location>
#include <string>

#include "compute/cuda/kernels.h"

namespace ballast::cuda {

namespace {

constexpr std::size_t kWorkspace = std::size_t{32}
                                   << 20;  // most that an algorithm may need: what cuBLAS itself takes on Hopper

constexpr std::size_t kEpilogueAlignment = 16;  // bytes, of what an epilogue reads or writes
constexpr std::int64_t kGeluColumns = 8;        // what cuBLASLt writes of gelu's argument has a multiple of these
constexpr int kGeluMajor = 9;                   // first compute capability where it is fused

/// Its second half begins at an address of that alignment and of no larger one.
alignas(2 * kEpilogueAlignment) constexpr std::byte kEpiloguePlaces[2 * kEpilogueAlignment] = {};

void check(cublasStatus_t status, std::source_location where = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(std::string("cuBLASLt: ") + cublasLtGetStatusString(status) + " (" + cublasLtGetStatusName(status) + ")",
              ExitCode::kInternal, where);
}

cublasLtHandle_t make_handle() {
  cublasLtHandle_t handle = nullptr;
  check(cublasLtCreate(&handle));
  return handle;
}

cudaDataType_t type_of(DType dtype) { return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

/// The largest power of two that divides an address, up to the 256 that cuBLASLt asks about.
std::uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | 256U;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

template <class Value>
void set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)));
}

template <class Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
}

/// A row-major matrix as cuBLASLt sees it: rows and columns change places.
cublasLtMatrixLayout_t make_layout(DType dtype, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type_of(dtype), static_cast<std::uint64_t>(columns),
                                   static_cast<std::uint64_t>(rows), columns));
  return layout;
}

void check_spans(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias, DeviceSpan c) {
  require(shape.m >= 0 && shape.n >= 0 && shape.k >= 1, "matmul: m and n may not be negative, k must be positive");
  require(a.size == shape.m * shape.k && b.size == shape.k * shape.n && c.size == shape.m * shape.n,
          "matmul: a, b or c is not of the shape's size");
  require(a.dtype == b.dtype && (c.dtype == a.dtype || c.dtype == DType::kF32),
          "matmul: a and b are of one type, c is of that type or f32");
  require(!shape.accumulate || c.dtype == DType::kF32, "matmul: only an f32 c accumulates");
  require(bias.empty() || (bias.size == shape.n && bias.dtype == DType::kF32), "matmul: bias is not f32 of size n");
}

/// The bias as cuBLASLt's epilogue takes it: in the type of c, aligned.
const void* epilogue_bias(Queue& queue, ConstDeviceSpan bias, DType dtype) {
  if (bias.empty() || (dtype == bias.dtype && alignment_of(bias.data) >= kEpilogueAlignment)) return bias.data;
  const DeviceSpan converted{queue.scratch(bias.size * size_of(dtype)), bias.size, dtype};
  convert(queue, bias, converted);
  return converted.data;
}

cublasLtEpilogue_t epilogue_of(bool bias, bool gelu, bool keep) {
  if (!gelu) return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (keep) return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

int major_of(int device) {
  int major = 0;
  cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major;
}

}  // namespace

Matmul::Matmul(int device, bool tf32)
    : tf32_(tf32), fuses_gelu_(major_of(device) >= kGeluMajor), handle_(make_handle()) {}

Matmul::Description Matmul::describe(const Key& key) const {
  cublasLtMatmulDesc_t made = nullptr;
  const bool fast = tf32_ && key.factors == DType::kF32;
  check(cublasLtMatmulDescCreate(&made, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
  Description description(made);
  set(made, CUBLASLT_MATMUL_DESC_TRANSA, key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(made, CUBLASLT_MATMUL_DESC_TRANSB, key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(made, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(key.bias, key.gelu, key.keep));
  // The choice of an algorithm looks at the alignment of these, and must not differ from call to call.
  const void* const place = kEpiloguePlaces + kEpilogueAlignment;
  if (key.bias) set(made, CUBLASLT_MATMUL_DESC_BIAS_POINTER, place);
  if (key.keep) {
    set(made, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, place);
    set(made, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key.n);
  }
  return description;
}

void Matmul::choose_algorithm(const Key& key, Plan& plan) const {
  cublasLtMatmulPreference_t made = nullptr;
  check(cublasLtMatmulPreferenceCreate(&made));
  const Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference(made);
  set(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  set(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.alignment_b);
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.alignment_a);
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.alignment_c);
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.alignment_c);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_.get(), plan.description.get(), plan.b.get(), plan.a.get(), plan.c.get(),
                                     plan.c.get(), made, 1, &best, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0)) return;
  check(status);
  plan.exists = true;
  plan.algorithm = best.algo;
  plan.workspace = best.workspaceSize;
}

Matmul::Plan Matmul::make_plan(const Key& key) const {
  Plan plan;
  plan.description = describe(key);
  plan.a = Layout(key.transpose_a ? make_layout(key.factors, key.k, key.m) : make_layout(key.factors, key.m, key.k));
  plan.b = Layout(key.transpose_b ? make_layout(key.factors, key.n, key.k) : make_layout(key.factors, key.k, key.n));
  plan.c = Layout(make_layout(key.sum, key.m, key.n));
  choose_algorithm(key, plan);
  return plan;
}

const Matmul::Plan& Matmul::plan_of(Queue& queue, const Key& key) {
  if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
  const Plan& plan = plans_.emplace(key, make_plan(key)).first->second;
  if (plan.workspace > workspace_bytes_) {
    (void)queue.uncaptured_stream();
    workspace_ = {};  // freeing waits for the products that use it
    workspace_bytes_ = 0;
    workspace_ = make_device_memory(plan.workspace);
    workspace_bytes_ = plan.workspace;
  }
  return plan;
}

Matmul::Key Matmul::key_of(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                           DeviceSpan c) {
  return {.m = shape.m,
          .n = shape.n,
          .k = shape.k,
          .transpose_a = shape.transpose_a,
          .transpose_b = shape.transpose_b,
          .accumulate = shape.accumulate,
          .bias = !bias.empty(),
          .factors = a.dtype,
          .sum = c.dtype,
          .alignment_a = alignment_of(a.data),
          .alignment_b = alignment_of(b.data),
          .alignment_c = alignment_of(c.data)};
}

void Matmul::run(Queue& queue, const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                 DeviceSpan c) {
  check_spans(shape, a, b, bias, c);
  if (c.empty()) return;
  const Key key = key_of(shape, a, b, bias, c);
  const Plan& plan = plan_of(queue, key);
  if (!plan.exists) {
    throw Error("cuBLASLt has no algorithm for a product of m = " + std::to_string(key.m) +
                ", n = " + std::to_string(key.n) + ", k = " + std::to_string(key.k) + " in " + name_of(key.factors));
  }
  multiply(queue, key, plan, a, b, bias, c);
}

bool Matmul::run_gelu(Queue& queue, const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b,
                      ConstDeviceSpan bias, DeviceSpan x, DeviceSpan y) {
  check_spans(shape, a, b, bias, y);
  require(!shape.accumulate && (x.empty() || (x.size == y.size && x.dtype == y.dtype)),
          "matmul_gelu: x is not of the size and type of y, or the product accumulates");
  const bool keep = !x.empty();
  const bool aligned = !keep || (shape.n % kGeluColumns == 0 && alignment_of(x.data) >= kEpilogueAlignment);
  if (!fuses_gelu_ || y.empty() || y.dtype != DType::kBF16 || !aligned) return false;
  Key key = key_of(shape, a, b, bias, y);
  key.gelu = true;
  key.keep = keep;
  const Plan& plan = plan_of(queue, key);
  if (!plan.exists) return false;
  if (keep) set(plan.description.get(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, x.data);
  multiply(queue, key, plan, a, b, bias, y);
  return true;
}

void Matmul::multiply(Queue& queue, const Key& key, const Plan& plan, ConstDeviceSpan a, ConstDeviceSpan b,
                      ConstDeviceSpan bias, DeviceSpan c) {
  if (key.bias) {
    set(plan.description.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, epilogue_bias(queue, bias, c.dtype));
  }
  const float alpha = 1.0F;
  const float beta = key.accumulate ? 1.0F : 0.0F;
  check(cublasLtMatmul(handle_.get(), plan.description.get(), &alpha, b.data, plan.b.get(), a.data, plan.a.get(), &beta,
                       c.data, plan.c.get(), c.data, plan.c.get(), &plan.algorithm, workspace_.get(), workspace_bytes_,
                       queue.stream()));
}

}  // namespace ballast::cuda
