// Defines: ValueReads: which values the operations of a pass read, in the order in which they run.
#pragma once

#include <cstddef>
#include <vector>

#include "models/graph.h"
#include "models/model.h"
#include "models/planner/plan.h"

namespace ballast {

/// Tells the owner of the values (UseValues) what every operation of a pass is about to read, and what the next
/// kValuesAhead that read any will.
class ValueReads {
 public:
  ValueReads(const Graph& graph, const Plan& plan);

  /// A pass over the whole graph begins. One that does both leaves a loss that is found in backward out of forward.
  void begin(bool forward, bool backward);
  /// Operation `node` of that pass is about to run: backward, or forward (`backward` false), for the first time or
  /// again. `use` may be empty.
  void before(std::size_t node, bool backward, const UseValues& use);
  /// The pass is over.
  static void end(const UseValues& use);

  /// Of one operation. Empty: it reads none.
  [[nodiscard]] static std::vector<ElementRange> forward(const Graph& graph, std::size_t node);
  [[nodiscard]] static std::vector<ElementRange> backward(const Graph& graph, std::size_t node);

 private:
  struct Read {
    std::size_t node = 0;
    bool backward = false;
    std::vector<ElementRange> values;
  };
  void add(std::size_t node, bool backward, std::vector<ElementRange> values);

  std::vector<Read> reads_;         ///< forward's, then backward's
  std::size_t forward_reads_ = 0;   ///< how many are forward's
  std::size_t without_loss_ = 0;    ///< ... of a pass that finds the loss in backward
  std::vector<std::size_t> pass_;   ///< of the pass under way
  std::size_t at_ = 0;              ///< in pass_: the next one
  std::vector<ElementRange> soon_;  ///< of the call under way: what the next few will read
};

}  // namespace ballast
