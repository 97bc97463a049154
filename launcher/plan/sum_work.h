// Defines: SumWork: what summing over groups and shards asks of a node's memory.
#pragma once

namespace ballast {

/// Bytes read and written by all workers of a node, counted as the operations of comm/split/sum_messages.h and
/// comm/split/coded_sums.h pass over memory: each one anew, whatever a cache would save. Coding a number reads it,
/// reads and writes its error where there is one, and writes the code; blocks of 8192 stay in a cache meanwhile.
struct SumWork {
  double parts = 1.0;     ///< partial sums that the node's workers end up with
  double subtrees = 1.0;  ///< what they add up to: so many sums the node sends
  bool coded = false, errors = false;

  /// For `elements` of other nodes; `code`: bytes of one coded sum of them.
  [[nodiscard]] double before_sending(double elements, double code) const;
  /// For `elements` of its own, with so many sums of `others`.
  [[nodiscard]] double in_the_end(double elements, double code, double others) const;

 private:
  /// Adding up and coding what is here.
  [[nodiscard]] double coding(double elements, double code) const;
};

}  // namespace ballast
