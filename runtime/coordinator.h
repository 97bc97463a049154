// Defines: StepOutcome, ParameterStatistics, Coordinator: owner of slices of the parameters.
//
// Sums the gradients of its slices, takes part in the global norm, applies the optimizer, publishes the new values, and
// knows which pieces of which tensors it has to write to a checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/split_allreduce.h"
#include "models/parameters.h"
#include "runtime/job.h"
#include "runtime/optimizer.h"
#include "runtime/owned_runs.h"
#include "runtime/state_tensors.h"
#include "runtime/worker.h"

namespace ballast {

/// What all workers agree on in a step, beside the sums: bits set by any worker.
enum StepFlag : unsigned { kFlagStop = 1U, kFlagSave = 2U };

struct StepOutcome {
  double gradient_norm = 0.0;  ///< global, before clipping
  double lr = 0.0;
  bool stop = false, save = false;  ///< some worker asked for it in this step

  void add_flags(unsigned flags) {
    stop = stop || (flags & kFlagStop) != 0;
    save = save || (flags & kFlagSave) != 0;
  }
};

/// Of one trained parameter in one step; norms over all its elements.
struct ParameterStatistics {
  int parameter = 0;
  double gradient_norm = 0.0, value_norm = 0.0, change_norm = 0.0;
};

class Coordinator {
 public:
  /// References must outlive it. Optimizer state starts at zero.
  Coordinator(const ParameterTable& parameters, SplitAllReduce& gradients, Backend& backend, Communicator& world,
              const JobConfig& config, std::int64_t total_steps, PhaseClock& clock, TensorNames names = {});

  /// Collective. The second half of step `step` (from 1): reduce, norm, clip, update, publish. Completes `totals`.
  /// Leaves the clock in kOther.
  /// Throws Error naming the parameter when a gradient is not finite; values and state are then as before the step.
  StepOutcome update(std::int64_t step, StepTotals& totals, unsigned flags, bool want_statistics);

  /// Of the last update(.., want_statistics = true); equal on every worker.
  [[nodiscard]] const std::vector<ParameterStatistics>& statistics() const { return statistics_; }

  /// Collective. First values of my slices, published.
  void initialise(std::uint64_t seed);
  /// My part of every tensor (see StateTensors), in the live memory. May be written before loaded(), and read before
  /// the next update.
  [[nodiscard]] std::vector<NamedPiece> pieces() const;
  /// Collective. Values and states of my slices have been filled in: publishes them.
  void loaded();

  [[nodiscard]] const OwnedRuns& runs() const { return runs_; }
  /// value = value + share (target - value) of a run of mine; everybody sees it behind loaded().
  void move(const OwnedRun& run, ConstDeviceSpan target, float share);

 private:
  void square_blocks();
  void agree(StepTotals& totals, unsigned flags);
  [[nodiscard]] double global_norm(std::int64_t step) const;
  void apply(std::int64_t step, double norm, double lr);
  void apply_with_statistics(const OwnedRun& run, const UpdateRule& rule);
  void collect_statistics();
  [[nodiscard]] UpdateRule rule_for(const Parameter& parameter, const UpdateRule& base) const;
  [[nodiscard]] UpdateRun memory_of(const OwnedRun& run, std::int64_t begin, std::int64_t end) const;
  void refresh_compute_values();

  const ParameterTable& parameters_;
  SplitAllReduce& gradients_;
  Backend& backend_;
  Communicator& world_;
  OptimizerSection config_;
  ScheduleSection schedule_;
  std::int64_t total_steps_;
  PhaseClock& clock_;
  TensorNames names_;
  std::unique_ptr<Optimizer> optimizer_;
  OwnedRuns runs_;
  std::vector<Buffer> states_;    // one per optimizer state: the states of my runs, packed
  std::vector<double> agreed_;    // the step's collective: block squares, shard sums, flags by rank
  std::vector<UpdateSums> sums_;  // by block, while statistics are wanted: complete after synchronize()
  std::vector<ParameterStatistics> statistics_;
};

}  // namespace ballast
