// Defines: PlannedGraph: a graph with a place for every tensor, and the two passes over it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/graph.h"
#include "models/model.h"
#include "models/planner/plan.h"
#include "models/planner/value_reads.h"

namespace ballast {

class PlannedGraph {
 public:
  PlannedGraph(Graph graph, std::int64_t max_samples);

  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] const Plan& plan() const { return plan_; }

  /// Takes the arena from `backend`, which must outlive this object. Passes may follow.
  void allocate(Backend& backend, std::uint64_t seed);

  /// See Model. The batch has been checked.
  LossSums forward(const Batch& batch, Mode mode, const ParameterMemory& memory);
  LossSums forward_backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                            const GradientsReady& ready, const std::function<void()>& forward_done);
  void backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                const GradientsReady& ready);
  /// Seconds of each operation's calls since the last call of this.
  struct Seconds {
    double forward = 0.0, backward = 0.0;
  };
  std::vector<Seconds> take_seconds();
  void download_logits(std::span<const std::int64_t> rows, std::span<float> logits);

 private:
  /// What the arena holds between calls.
  enum class Holds : std::uint8_t { kNothing, kEvaluated, kTrained };

  enum class Pass : std::uint8_t { kEvaluation, kForward, kBackward, kForwardBackward };

  /// For Backend::together: what decides about the operations of a pass and their shapes. `sends`: gradients leave
  /// while the pass runs.
  [[nodiscard]] static std::uint64_t key_of(Pass pass, const Batch& batch, const ParameterMemory& memory, bool sends);
  void require_allocated() const;
  void upload_inputs(const Batch& batch);
  void run_forward(const Batch& batch, Mode mode, const ParameterMemory& memory, std::size_t operations);
  void run_backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                    const GradientsReady& ready);
  void check_memory(const ParameterMemory& memory, bool gradients) const;
  /// `again`: as backward and a second forward see the tensors.
  [[nodiscard]] Frame frame_of(std::size_t node, std::int64_t samples, const ParameterMemory& memory, bool again) const;
  [[nodiscard]] DropoutKey dropout_of(std::size_t node, const Batch& batch) const;
  void run_forward_again(std::size_t node, const Batch& batch, const ParameterMemory& memory);
  void add_backward_spans(std::size_t node, const ParameterMemory& memory, Frame& frame) const;
  /// Sees to it that the gradients which `node` is the first to add to hold nothing.
  void begin_gradients(std::size_t node, Frame& frame);
  void run_node_backward(std::size_t node, const Frame& frame);
  [[nodiscard]] DeviceSpan gradient_of(int parameter, const ParameterMemory& memory) const;
  [[nodiscard]] DeviceSpan span_of(int storage, std::int64_t elements, DType dtype) const;
  [[nodiscard]] DeviceSpan value_span(int value, std::int64_t samples) const;
  /// A storage that holds `value` or its gradient.
  [[nodiscard]] DeviceSpan span_like(int value, int storage, std::int64_t samples) const;

  Graph graph_;
  Plan plan_;
  ValueReads reads_;
  Backend* backend_ = nullptr;
  Buffer arena_;
  std::uint64_t seed_ = 0;
  Holds holds_ = Holds::kNothing;
  std::int64_t samples_ = 0;          ///< of the last forward
  ParameterMemory memory_;            ///< of the last forward
  LossSums loss_;                     ///< of the pass under way; complete after the backend's synchronize()
  std::vector<Seconds> seconds_;      ///< by operation
  std::vector<std::byte> row_bytes_;  ///< one row of logits in the compute type
};

}  // namespace ballast
