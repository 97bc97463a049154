// Defines: OuterTraining: the copies that groups of shards train by themselves, brought together from time to time.
//
// Local SGD with an outer optimizer: every group takes `outer.every` steps of its own; then the mean of how far the
// copies have gone is the gradient of an outer update, and all go on from its outcome (Stich 2019; DiLoCo, Douillard et
// al. 2023). The weights may be cut into fragments that are exchanged at different steps, and an exchange may last some
// steps, beside which training goes on (Streaming DiLoCo, Douillard et al. 2025). Results depend on the groups and on
// the settings, never on the workers. The outer values are the result of the training: they are evaluated, and are the
// weights of checkpoints.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "runtime/outer_fragment.h"
#include "runtime/replica.h"

namespace ballast {

class OuterTraining {
 public:
  /// Collective. `replicas`: of the groups that I train, in their order. References must outlive it. Throws ConfigError
  /// for backends whose memory the host cannot address.
  OuterTraining(const ParameterTable& parameters, const JobConfig& config, const GroupLayout& groups,
                std::int64_t bucket_bytes, std::vector<std::unique_ptr<Replica>>& replicas, Communicator& world,
                Backend& backend);

  /// Collective. First values. Those of the replicas are the same.
  void initialise(std::uint64_t seed);
  /// Collective. My pieces, and those of the replicas, have been filled in; `state` is that of write_to().
  void loaded(const TrainingState& state);
  [[nodiscard]] std::vector<NamedPiece> pieces() const;
  void write_to(TrainingState& state) const;

  /// Collective, behind step `step` (from 1) of all my replicas: sends, sums up and takes over what is due then. With
  /// `last` everything is exchanged, so that the outer values have all that was learnt.
  void step(std::int64_t step, bool last);
  /// Collective. Ends the sums under way now instead of later: their outcome is the same. Before pieces() and
  /// lend_values().
  void settle();

  /// Collective. Until give_back(), the first replica of every worker has the outer values.
  void lend_values();
  void give_back();

  /// Collective. `totals` of the groups that a worker leads become everybody's, as do the flags; the outcome's norm
  /// becomes the mean over the groups. `norms`: by replica.
  void meet(StepTotals& totals, std::span<const double> norms, unsigned flags, StepOutcome& outcome);

 private:
  /// One fragment's exchange under way.
  struct Exchange {
    std::int64_t sent = 0;  ///< behind this step; 0: none is under way
    bool reduced = false;
  };
  [[nodiscard]] bool due(std::size_t fragment, std::int64_t step) const;
  void send(std::size_t fragment, std::int64_t step);
  void reduce(std::size_t fragment);
  void take_over(std::size_t fragment);
  void exchange_all();
  void publish_replicas();

  OuterSection config_;
  const GroupLayout& groups_;
  std::vector<std::unique_ptr<Replica>>& replicas_;
  Communicator& world_;
  Backend& backend_;
  std::vector<std::unique_ptr<OuterFragment>> fragments_;
  std::vector<Exchange> exchanges_;  ///< by fragment
  std::vector<Buffer> lent_;         ///< what the first replica's runs held, by run
};

}  // namespace ballast
