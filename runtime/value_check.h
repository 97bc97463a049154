// Defines: ValueCheck, layout_digest: do all copies of the weights hold the same bits?
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/split_allreduce.h"
#include "compute/backend.h"
#include "models/parameters.h"

namespace ballast {

/// Compares what the nodes (or, without shared memory, the workers) hold of every parameter: the copy that forward and
/// backward read. Workers of a node share the hashing. One pass over the values, and 16 bytes per piece on the wire.
///
/// It finds values that got lost or changed on their way or in memory since they were published. The next publish
/// overwrites most of these, so only a check between forward and update can see them.
class ValueCheck {
 public:
  /// Collective. `shared`: workers of a node share one copy. References must outlive it.
  ValueCheck(const ParameterTable& parameters, SplitAllReduce& values, Backend& backend, Communicator& world,
             bool shared);

  /// Whether there is anything to compare.
  [[nodiscard]] bool needed() const { return copies_ > 1; }
  /// Collective, between publish() and reduce(), when all values have been waited for. Throws Error(kDesync) on every
  /// worker, with the tensor, the elements and the ranks of the odd copy.
  void run(std::int64_t step);

 private:
  /// At most kPieceElements of one parameter.
  struct Piece {
    int parameter = 0;
    std::int64_t begin = 0, end = 0;  ///< elements of the parameter
  };
  [[nodiscard]] std::int64_t digest(const Piece& piece);
  [[noreturn]] void report(std::int64_t step, const Piece& piece, std::int64_t digest);

  const ParameterTable& parameters_;
  SplitAllReduce& values_;
  Backend& backend_;
  Communicator& world_;
  std::unique_ptr<Communicator> copy_;  ///< the workers that share my copy
  std::int64_t first_ = 0;              ///< the least of their ranks
  std::int64_t copies_ = 1;
  std::vector<Piece> pieces_;
  std::vector<std::byte> host_;      ///< a piece, where the host cannot read the values
  std::vector<std::int64_t> least_;  ///< by piece: the least digest, then the least complement
};

/// "148 parameters, 0f3a...": equal for tables with the same names, shapes and places.
[[nodiscard]] std::string layout_digest(const ParameterTable& parameters);

}  // namespace ballast
