// Defines: OuterFragment: a run of neighbouring parameters whose copies in all groups are brought together at one time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/split_allreduce.h"
#include "runtime/group_layout.h"
#include "runtime/job.h"
#include "runtime/owned_runs.h"
#include "runtime/state_tensors.h"

namespace ballast {

/// Holds the outer values: one copy on every node, the same everywhere. An exchange is, by all workers at the same
/// steps,
///
///   send()      every group's leader hands over how far its copy lies from the outer values
///   progress()  at times, until reduce(): what neighbours have handed over meanwhile leaves
///   reduce()    the mean difference, and the outer update of the parts that I coordinate, which then leave
///   receive()   returns when all of the new outer values are here
///
/// Memory: 4 bytes per weight on every node, 4 on every leader, and 4 for the momentum on its coordinator.
class OuterFragment {
 public:
  /// Collective. Parameters [first, last) of `all`. References must outlive it.
  OuterFragment(const ParameterTable& all, int first, int last, const JobConfig& config, const GroupLayout& groups,
                std::int64_t bucket_bytes, Communicator& world, Backend& backend);

  /// Where the fragment lies in a flat buffer of all parameters.
  [[nodiscard]] ElementRange elements() const { return elements_; }
  /// Outer values of flat elements of all parameters, inside the fragment. Current behind receive().
  [[nodiscard]] DeviceSpan values(std::int64_t begin, std::int64_t end) const;

  /// Collective. First values, received.
  void initialise(std::uint64_t seed);
  /// Collective. My pieces have been filled in: publishes and receives.
  void loaded();
  [[nodiscard]] std::vector<NamedPiece> pieces() const;

  /// `copies`: values of all parameters, by group that I lead.
  void send(const std::vector<ConstDeviceSpan>& copies);
  void progress() { exchange_->gradients_ready(0); }
  void reduce();
  void receive();

 private:
  [[nodiscard]] UpdateRule rule_for(const Parameter& parameter) const;

  OuterSection config_;
  int groups_;
  Backend& backend_;
  ParameterTable parameters_;  ///< of the fragment, from offset 0
  ElementRange elements_;
  std::unique_ptr<SplitAllReduce> exchange_;
  OwnedRuns runs_;
  Buffer momentum_;  ///< of my runs, packed; empty without momentum
};

}  // namespace ballast
