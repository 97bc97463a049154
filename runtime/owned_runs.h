// Defines: blocks_of, OwnedRun, OwnedRuns, fill_with_initial_values: what of the parameters a worker coordinates.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split_allreduce.h"
#include "models/parameters.h"

namespace ballast {

/// Blocks (see split_allreduce.h) of a parameter table: at most 8192 elements, none across two parameters.
[[nodiscard]] std::vector<Block> blocks_of(const ParameterTable& parameters);

/// Neighbouring elements of one parameter in a slice of mine.
struct OwnedRun {
  int parameter = 0;
  int first_block = 0, block_count = 0;
  std::int64_t begin = 0, end = 0;  ///< flat elements
  std::int64_t state = 0;           ///< where this run starts in packed states; statistics have none
};

class OwnedRuns {
 public:
  OwnedRuns(const ParameterTable& parameters, const std::vector<Block>& blocks, const std::vector<Slice>& my_slices);

  [[nodiscard]] const std::vector<OwnedRun>& all() const { return runs_; }
  [[nodiscard]] auto begin() const { return runs_.begin(); }
  [[nodiscard]] auto end() const { return runs_.end(); }
  [[nodiscard]] std::int64_t state_elements() const { return state_elements_; }  ///< of a packed state of my runs
  [[nodiscard]] const std::vector<int>& block_parameter() const {
    return block_parameter_;
  }  ///< by block: its parameter
  /// By block of mine: where it lies in its run.
  [[nodiscard]] const std::vector<ElementRange>& parts() const { return parts_; }

 private:
  std::vector<OwnedRun> runs_;
  std::int64_t state_elements_ = 0;
  std::vector<int> block_parameter_;
  std::vector<ElementRange> parts_;
};

/// Puts the first values of the parameters (see initial_values()) into my runs of `values`, a flat buffer.
void fill_with_initial_values(const ParameterTable& parameters, const OwnedRuns& runs, std::uint64_t seed,
                              DeviceSpan values, Backend& backend);

}  // namespace ballast
