// Defines: StepOutcome, ParameterStatistics, Coordinator: owner of slices of the parameters.
//
// Sums the gradients of its slices, takes part in the global norm, applies the optimizer, publishes the new values, and
// knows which pieces of which tensors it has to write to a checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "comm/split_allreduce.h"
#include "models/parameters.h"
#include "runtime/job.h"
#include "runtime/optimizer.h"
#include "runtime/worker.h"

namespace ballast {

/// What all workers agree on in a step, beside the sums: bits set by any worker.
enum StepFlag : unsigned { kFlagStop = 1U, kFlagSave = 2U };

struct StepOutcome {
  double gradient_norm = 0.0;  ///< global, before clipping
  double lr = 0.0;
  bool stop = false, save = false;  ///< some worker asked for it in this step
};

/// Of one trained parameter in one step; norms over all its elements.
struct ParameterStatistics {
  int parameter = 0;
  double gradient_norm = 0.0, value_norm = 0.0, change_norm = 0.0;
};

/// Blocks (see split_allreduce.h) of a parameter table: at most 8192 elements, none across two parameters.
[[nodiscard]] std::vector<Block> blocks_of(const ParameterTable& parameters);

/// Tensors a checkpoint of these parameters holds: every parameter, then every optimizer state of every trained
/// parameter.
[[nodiscard]] std::vector<TensorSpec> tensors_of(const ParameterTable& parameters, const Optimizer& optimizer);

class Coordinator {
 public:
  /// References must outlive it. Optimizer state starts at zero.
  Coordinator(const ParameterTable& parameters, SplitAllReduce& gradients, Backend& backend, Communicator& world,
              const JobConfig& config, std::int64_t total_steps, PhaseClock& clock);

  /// Collective. The second half of step `step` (from 1): reduce, norm, clip, update, publish. Completes `totals`.
  /// Leaves the clock in kOther.
  /// Throws Error naming the parameter when a gradient is not finite; values and state are then as before the step.
  StepOutcome update(std::int64_t step, StepTotals& totals, unsigned flags, bool want_statistics);

  /// Of the last update(.., want_statistics = true); equal on every worker.
  [[nodiscard]] const std::vector<ParameterStatistics>& statistics() const { return statistics_; }

  /// Collective. First values of my slices, published.
  void initialise(std::uint64_t seed);
  /// Collective. Values and states of my slices from a checkpoint, published.
  void load(const Checkpoint& checkpoint);

  [[nodiscard]] const std::vector<TensorSpec>& tensors() const { return tensors_; }
  /// My part of every tensor, in the live memory: for downloads that begin before the next update.
  [[nodiscard]] std::vector<ConstTensorPiece> pieces() const;

 private:
  /// Neighbouring elements of one parameter in a slice of mine.
  struct Run {
    int parameter = 0;
    int first_block = 0, block_count = 0;
    std::int64_t begin = 0, end = 0;  // flat elements
    std::int64_t state = 0;           // where this run starts in the packed states; statistics have none
  };
  void find_runs();
  void square_blocks();
  void agree(StepTotals& totals, unsigned flags);
  [[nodiscard]] double global_norm(std::int64_t step) const;
  void apply(std::int64_t step, double norm, double lr);
  void apply_with_statistics(const Run& run, const UpdateRule& rule);
  void collect_statistics();
  [[nodiscard]] UpdateRule rule_for(const Parameter& parameter, const UpdateRule& base) const;
  [[nodiscard]] UpdateRun memory_of(const Run& run, std::int64_t begin, std::int64_t end) const;
  [[nodiscard]] std::vector<TensorPiece> writable_pieces() const;
  void refresh_compute_values();

  const ParameterTable& parameters_;
  SplitAllReduce& gradients_;
  Backend& backend_;
  Communicator& world_;
  OptimizerSection config_;
  ScheduleSection schedule_;
  std::int64_t total_steps_;
  PhaseClock& clock_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<TensorSpec> tensors_;
  std::vector<Run> runs_;
  std::vector<Buffer> states_;        // one per optimizer state: the states of my runs, packed
  std::vector<int> block_parameter_;  // parameter of each block
  std::vector<double> agreed_;        // the step's collective: block squares, shard sums, flags by rank
  std::vector<ElementRange> parts_;   // by block of mine: where it lies in its run
  std::vector<UpdateSums> sums_;      // by block, while statistics are wanted: complete after synchronize()
  std::vector<ParameterStatistics> statistics_;
};

}  // namespace ballast
