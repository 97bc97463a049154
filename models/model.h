// Defines: Batch, Mode, UseValues, ParameterMemory, InputSpec, Model, build_model.
//
// A model is a planned graph over a parameter table. It knows shapes and arithmetic, never workers, files or steps.
// Built and planned without allocating: `ballast plan` prints what it would need.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "models/model_config.h"
#include "models/parameters.h"

namespace ballast {

class PlannedGraph;

enum class Mode : std::uint8_t {
  kTrain,     ///< dropout on, batch statistics; keeps what backward needs
  kEvaluate,  ///< dropout off, running statistics
};

/// One micro-batch, in host memory that must live until the pass is over. Which spans are used: see InputSpec.
struct Batch {
  std::int64_t samples = 0;
  std::uint64_t step = 0;           ///< for dropout: part of the mask's key
  std::uint32_t first_sample = 0;   ///< position of the first sample in the step's global batch: part of the mask's key
  std::span<const float> features;  ///< samples x input elements (images BYXC), or empty
  std::span<const std::int32_t> tokens;   ///< samples x positions, or empty
  std::span<const std::int32_t> targets;  ///< samples x targets_per_sample; -1 is not counted
};

/// What a model eats. Data sets are checked against it before the first step.
struct InputSpec {
  enum class Kind : std::uint8_t { kFeatures, kTokens } kind = Kind::kFeatures;
  Shape sample;                         ///< [784], [28, 28, 1] or [positions]
  std::int64_t targets_per_sample = 1;  ///< 1, or positions
  std::int64_t classes = 0;             ///< targets lie in [0, classes); for tokens also the vocabulary
};

/// Called before an operation reads values, forward or backward: returns when those of `now` are there. The next
/// kValuesAhead operations of the pass that read any will read those of `next`, in this order, so they may come
/// meanwhile; whatever is in neither may go. At the end of a pass both are empty.
using UseValues = std::function<void(std::span<const ElementRange> now, std::span<const ElementRange> next)>;
/// With one, a small operation (a normalisation) leaves a slow link nothing to bring for the large one behind it.
constexpr std::size_t kValuesAhead = 4;

/// The flat buffers a pass reads and writes, all with the layout of the parameter table. Not owned.
struct ParameterMemory {
  ConstDeviceSpan values;          ///< f32
  ConstDeviceSpan compute_values;  ///< bf16; empty in f32 models
  DeviceSpan gradients;            ///< f32, accumulated into; empty for evaluation
  bool fresh = false;              ///< gradients hold nothing yet: backward begins them
  UseValues use_values = {};       ///< empty: all values are there
};

/// Called by backward whenever the end of the gradient buffer grows final: gradients at flat offsets >= `offset` will
/// not change any more in this pass. Called with falling offsets, the last time with 0.
using GradientsReady = std::function<void(std::int64_t offset)>;

/// What one operation of the graph costs.
struct OperationCost {
  std::string name;            ///< "blocks.0.attention.qkv"
  std::string kind;            ///< "linear"
  double flops = 0.0;          ///< of one sample, forward and backward: matmuls, convolutions, attention; else 0
  double bytes = 0.0;          ///< of one sample, forward and backward: tensors read and written by the others
  double forward_flops = 0.0;  ///< forward's part of `flops`
  double forward_bytes = 0.0;  ///< ... of `bytes`
  std::vector<int> again;      ///< beside them: operations that run forward again before this one's backward
  std::vector<ElementRange> values, backward_values;  ///< flat elements that forward and backward read
  std::int64_t ready_offset = 0;  ///< behind its backward, gradients at flat offsets >= this are final
  double forward_seconds = 0.0;   ///< measured since the last call of operation_costs()
  double backward_seconds = 0.0;
};

class Model {
 public:
  Model(std::unique_ptr<PlannedGraph> graph, InputSpec input);
  Model(Model&&) noexcept;
  ~Model();

  [[nodiscard]] const ParameterTable& parameters() const;
  [[nodiscard]] const InputSpec& input() const { return input_; }
  [[nodiscard]] DType compute_type() const;
  [[nodiscard]] std::int64_t max_samples() const;  ///< largest Batch::samples

  /// Bytes of the arena that allocate() will take: activations and their gradients.
  [[nodiscard]] std::int64_t arena_bytes() const;
  /// Multiply-adds of matmuls, convolutions and attention, times two, of forward and backward for one sample.
  [[nodiscard]] double flops_per_sample() const;
  /// In forward order. Times are those of the calls: a backend that computes behind its caller shows little.
  [[nodiscard]] std::vector<OperationCost> operation_costs();
  /// One line per operation: name, output shape, parameters. For `ballast plan`.
  [[nodiscard]] std::string summary() const;

  /// Takes the arena. Passes may follow. `seed` keys dropout.
  void allocate(Backend& backend, std::uint64_t seed);

  /// Loss sums over the batch (not a mean). Waits for them.
  LossSums forward(const Batch& batch, Mode mode, const ParameterMemory& memory);
  /// After forward(kTrain) of the same batch: gradients += d(loss sum * loss_scale) / d(parameter). Running statistics
  /// receive batch statistic * samples * statistic_scale. A caller passes 1 / (targets in the global batch) and 1 /
  /// (samples in it).
  void backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                const GradientsReady& ready);
  /// Both in one, and cheaper where the loss can be found in backward. `forward_done` is called in between.
  LossSums forward_backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                            const GradientsReady& ready, const std::function<void()>& forward_done = {});
  /// After forward: logits of the rows asked for, as f32 [rows.size(), classes]. A row is sample * positions +
  /// position.
  void download_logits(std::span<const std::int64_t> rows, std::span<float> logits);

 private:
  std::unique_ptr<PlannedGraph> graph_;
  InputSpec input_;
};

/// Builds and plans. `compute` is kF32 or kBF16. Throws ConfigError naming the key for sizes that do not fit together
/// (width not divisible by heads, ...).
[[nodiscard]] Model build_model(const ModelConfig& config, DType compute, std::int64_t max_samples);

}  // namespace ballast
