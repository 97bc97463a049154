// Defines: Backend (memory of one piece of hardware and the operations on it), make_backend.
//
// Axes: B = samples, T = positions, C = channels or width, H = heads, D = C / H, V = vocabulary, R = rows (any product
// of leading axes), I / O = inputs / outputs, Y / X = image rows / columns, K = kernel edge. Activations are row-major,
// images are BYXC.
//
// Rules that hold for every operation:
//  * "compute type" is f32 or bf16: activations and their gradients have it. bf16 is widened to f32 for arithmetic,
//  sums are f32 or wider.
//  * Gradients of parameters (dw, db, ...) are f32 and accumulate (+=), so micro-batches add up in order.
//    Gradients of activations (dx) are assigned (=) unless the argument says otherwise.
//  * The bits of a result depend on the arguments and the instruction set only: never on the number of threads. Every
//  reduction
//    runs over blocks whose size is fixed by the shape, added in index order.
//  * Calls may return before the work is done; synchronize() waits. Host memory passed in must live until then.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "compute/batch_norm.h"
#include "compute/compression.h"
#include "compute/element_range.h"
#include "compute/tensor.h"
#include "compute/update.h"

namespace ballast {

/// c_MN = a * b (+ c when `accumulate`) (+ bias_N). a is [M, K], or [K, M] when `transpose_a`; b is [K, N], or [N, K]
/// when `transpose_b`.
struct MatmulShape {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;
};

/// A square convolution, same stride in both directions. x_BYXI, w_OIKK, y_B(Y')(X')O with Y' = (Y + 2 pad - K) /
/// stride + 1.
struct ConvShape {
  std::int64_t samples = 0, rows = 0, columns = 0;  ///< of the input
  std::int64_t inputs = 0, outputs = 0, kernel = 3, stride = 1, pad = 1;
  [[nodiscard]] std::int64_t out_rows() const { return (rows + 2 * pad - kernel) / stride + 1; }
  [[nodiscard]] std::int64_t out_columns() const { return (columns + 2 * pad - kernel) / stride + 1; }
};

struct AttentionShape {
  std::int64_t samples = 0, positions = 0, heads = 0, head_width = 0;
};

/// Names one dropout mask. Element e of sample i is kept iff philox(counter = {e / 4, operation, step, first_sample +
/// i}, seed)[e % 4] says so.
struct DropoutKey {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::uint32_t operation = 0;     ///< number of the operation in its graph
  std::uint32_t first_sample = 0;  ///< position of the first sample of this call in the step's global batch
  float rate = 0.0F;               ///< probability of zero; kept elements are scaled by 1 / (1 - rate)
};

/// What softmax_cross_entropy adds up over the rows whose target is not negative.
struct LossSums {
  double loss = 0.0;         ///< nats, summed
  std::int64_t rows = 0;     ///< rows counted
  std::int64_t correct = 0;  ///< rows whose largest logit is the target (lowest index wins ties)
  LossSums& operator+=(const LossSums& other) {
    loss += other.loss;
    rows += other.rows;
    correct += other.correct;
    return *this;
  }
};

class Backend {
 public:
  virtual ~Backend() = default;

  // --- identity and memory ------------------------------------------------------------------------------------------
  [[nodiscard]] virtual std::string name() const = 0;         ///< "cpu"
  [[nodiscard]] virtual std::string description() const = 0;  ///< "cpu: 2 threads, avx512_bf16, oneDNN 2.6.3"
  [[nodiscard]] virtual int threads() const = 0;
  /// Whether the host may read and write what allocate() gives, once synchronize() has returned.
  [[nodiscard]] virtual bool host_addressable() const { return true; }
  /// The queue that operations run on, as the hardware's own libraries name it (a cudaStream_t); null where a call does
  /// its work itself. Ask for each use: all calls so far are on it then.
  [[nodiscard]] virtual void* queue() { return nullptr; }
  /// At least `bytes` bytes, aligned to 4096 where the host may address them and to 256 elsewhere, not cleared. Throws
  /// Error naming the bytes asked for.
  virtual void* allocate(std::int64_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual void upload(std::span<const std::byte> host, DeviceSpan device) = 0;
  /// May run beside later operations that only read `device`; those that write it wait, update() among them. What is
  /// ordered behind queue() by other means does not wait: synchronize() first.
  virtual void download(ConstDeviceSpan device, std::span<std::byte> host) = 0;
  virtual void zero(DeviceSpan x) = 0;
  virtual void synchronize() = 0;
  /// Runs `operations`: calls of this backend that come again and again, for one `key` mostly in one order and with the
  /// same shapes. A backend may hand them to the hardware in larger pieces. Other arguments may differ, as may
  /// anything: what runs is what was called, and the key decides about time only.
  virtual void together(std::uint64_t /*key*/, const std::function<void()>& operations) { operations(); }

  // --- copies and elementwise: spans have one size and an output may be an input; types may differ only in `convert`
  // --------------------------------
  virtual void convert(ConstDeviceSpan from, DeviceSpan to) = 0;  ///< copies; f32 <-> bf16 where types differ
  virtual void add(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) = 0;  ///< y = a + b
  virtual void relu(ConstDeviceSpan x, DeviceSpan y) = 0;
  virtual void relu_backward(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) = 0;
  virtual void gelu(ConstDeviceSpan x, DeviceSpan y) = 0;  ///< tanh form (Hendrycks and Gimpel 2016), as GPT-2
  virtual void gelu_backward(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) = 0;
  /// y_B(E) = dropout of x_B(E); backward is the same call on dy. `samples` = B.
  virtual void dropout(const DropoutKey& key, std::int64_t samples, ConstDeviceSpan x, DeviceSpan y) = 0;

  // --- linear algebra -----------------------------------------------------------------------------------------------
  /// See MatmulShape. a and b have one type; c has that type or f32 (`accumulate` needs f32 c). bias is f32 or empty;
  /// it may be rounded to the type of c before it is added.
  virtual void matmul(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                      DeviceSpan c) = 0;
  /// y = gelu(x) of the x that matmul() gives; `shape` does not accumulate. Writes x for gelu_backward where it is not
  /// empty. gelu may be taken of x before x is rounded to its type.
  virtual void matmul_gelu(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                           DeviceSpan x, DeviceSpan y);
  /// dbias_N += sum over R of dy_RN.
  virtual void bias_backward(std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) = 0;

  // --- convolution --------------------------------------------------------------------------------------------------
  virtual void conv2d(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) = 0;
  virtual void conv2d_backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx) = 0;
  virtual void conv2d_backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy,
                                       DeviceSpan dw) = 0;
  /// y_BC = mean over the P = Y * X pixels of x_BPC.
  virtual void average_pool(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) = 0;
  virtual void average_pool_backward(std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy, DeviceSpan dx) = 0;

  // --- normalisation: gamma, beta, means, variances are f32 of size C
  // ---------------------------------------------------
  /// y = n gamma + beta for n = (x - mean) / sqrt(var + 1e-5) with the biased mean and variance of these R rows (Ioffe
  /// and Szegedy 2015); y = relu(n gamma + beta) or relu(n gamma + beta + skip) where the shape says so. Writes mean_C
  /// and inv_std_C for backward and the batch variance var_C. y may be the memory of skip.
  virtual void batch_norm(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip, ConstDeviceSpan gamma,
                          ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std, DeviceSpan var) = 0;
  /// The same with given mean_C and var_C (evaluation). y may be the memory of x as well.
  virtual void batch_norm_inference(const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                                    ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean,
                                    ConstDeviceSpan var, DeviceSpan y) = 0;
  /// With g = dy, or dy where y > 0 behind a relu: dgamma += sum_R(g n), dbeta += sum_R(g), dskip = g and
  /// dx = gamma inv_std (g - mean_R(g) - n mean_R(g n)).
  virtual void batch_norm_backward(const BatchNormShape& shape, const BatchNormGradients& tensors) = 0;
  /// y_RC = (x - mean_R) * inv_std_R * gamma + beta, epsilon 1e-5 (Ba, Kiros and Hinton 2016). mean and inv_std are f32
  /// of size R.
  virtual void layer_norm(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                          DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) = 0;
  /// dx is assigned, or added to when `accumulate`.
  virtual void layer_norm_backward(std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy, ConstDeviceSpan gamma,
                                   ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate, DeviceSpan dx,
                                   DeviceSpan dgamma, DeviceSpan dbeta) = 0;

  // --- sequence -----------------------------------------------------------------------------------------------------
  /// x_BTC = token_VC[tokens_BT] + position_TC. tokens is i32, each in [0, V). Tables have the type of x.
  virtual void embedding(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                         ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) = 0;
  virtual void embedding_backward(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                                  ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) = 0;
  /// Causal multi-head attention, scale 1 / sqrt(D): y_BTC of qkv_BT(3C) = [q | k | v], each split in H heads of D.
  /// Writes log_sum_exp_BHT (f32) for backward; no T x T matrix outlives the call.
  virtual void attention(const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp) = 0;
  virtual void attention_backward(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                                  ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) = 0;

  // --- loss ---------------------------------------------------------------------------------------------------------
  /// Adds -log softmax(logits_RV)[target_R] over rows with target >= 0 to `sums`, complete after synchronize(); writes
  /// log_sum_exp_R (f32) for backward. A target >= V is a DataError, here or from synchronize().
  virtual void softmax_cross_entropy(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                     DeviceSpan log_sum_exp, LossSums& sums) = 0;
  /// dlogits_RV = (softmax(logits) - onehot(target)) * scale; rows with a negative target get zeros. dlogits may be
  /// logits.
  virtual void softmax_cross_entropy_backward(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                                              ConstDeviceSpan log_sum_exp, float scale, DeviceSpan dlogits) = 0;

  // --- reduction and update: f32, on slices of the flat buffers
  // ----------------------------------------------------------
  /// sum = the addends added in the shape of `tree`, a postfix program: i >= 0 pushes addend i, -1 adds the two on top.
  /// `sum` may be one of the addends. One pass over memory.
  virtual void ordered_sum(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum) = 0;
  /// Sum of squares of x in f64; one fixed order for a given size.
  virtual double sum_of_squares(ConstDeviceSpan x) = 0;
  /// ordered_sum, and squares[i] = sum_of_squares(sum at parts[i]), with the same bits. Parts lie in rising order,
  /// apart. A backend may take the squares while the sums are in its cache.
  virtual void ordered_sum_and_squares(std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                                       DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares);
  /// The code of x + error, block by block (see compression.h); error = (x + error) - D(code). An empty `error` is
  /// none. x and error are f32, code is i32. What lies in no block is neither read nor written.
  virtual void compress(std::span<const CodedBlock> blocks, ConstDeviceSpan x, DeviceSpan error, DeviceSpan code) = 0;
  /// x = D(code) in the blocks, and zero outside them.
  virtual void decompress(std::span<const CodedBlock> blocks, ConstDeviceSpan code, DeviceSpan x) = 0;
  /// One optimizer update of a run of values; see update.h. Returns the sums that telemetry needs when asked to.
  virtual UpdateSums update(const UpdateRule& rule, const UpdateRun& run) = 0;
  /// The same for parts of a run that lie apart, of at most 8192 elements each, all with sums: sums[i] is what update()
  /// of parts[i] with want_sums would give, with the same bits.
  virtual void update_parts(const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                            std::span<UpdateSums> sums);
};

/// Frees itself. Move only.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Backend& backend, std::int64_t elements, DType dtype);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  [[nodiscard]] DeviceSpan span() const { return span_; }

 private:
  Backend* backend_ = nullptr;
  DeviceSpan span_;
};

struct BackendOptions {
  std::string name = "auto";  ///< "auto" | "cpu" | "cuda"
  int threads = 0;            ///< 0: one per core of this process's affinity mask
  int device = 0;             ///< which of the machine's devices; for the cpu of no meaning
  std::string plugins;        ///< folder with the backends that are loaded at run time; empty: beside the program
  bool tf32 = false;          ///< cuda: f32 products may round their factors to TF32
};

/// Cores this process may run on (its affinity mask).
[[nodiscard]] int available_cores();

/// Throws ConfigError for a backend that this build or machine does not have.
[[nodiscard]] std::unique_ptr<Backend> make_backend(const BackendOptions& options);

}  // namespace ballast
