// Defines: ChangeExchange: changes of the values, coded, on their way from the coordinators to the other nodes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/split/slice_code.h"
#include "comm/split/sum_exchange.h"

namespace ballast {

/// The owner of a slice codes what has changed since the last time, and everybody, the owner too, moves the values by
/// what the code stands for. So all nodes keep the same values, and what a code leaves out is in the next one. Memory
/// of the backend: 8 bytes per element that I own.
class ChangeExchange {
 public:
  /// Collective over the node. `my_slices` are not empty ones.
  ChangeExchange(const SplitParts& parts, const std::vector<Block>& blocks, const std::vector<Slice>& my_slices,
                 const GradientCoding& coding);

  /// What is in my slices now is what everybody has.
  void remember();
  /// Moves my slices back to what the code of their change stands for, and sends it. Everyone on the node has called
  /// finish() since the last time.
  void start();
  /// Returns when the changes of the last start() have been made to this node's values, whoever received them. Everyone
  /// on the node has called start(), and calls this. At once where nothing has started since.
  void finish();
  [[nodiscard]] std::vector<CodingError> errors() const { return errors_.all(); }

 private:
  struct Mine {
    Slice slice;
    SliceCode code;
    std::vector<int> to;       ///< the contacts on the other nodes
    std::int64_t last = 0;     ///< where its last values begin in last_
    std::int64_t message = 0;  ///< where its code begins in my memory, words
    std::size_t error = 0;
  };
  struct Incoming {
    Slice slice;
    SliceCode code;
    std::int64_t message = 0;
  };
  void plan(const std::vector<Block>& blocks, const std::vector<Slice>& my_slices, const GradientCoding& coding);
  [[nodiscard]] std::int64_t reserve(const SliceCode& code);
  [[nodiscard]] DeviceSpan words_at(std::int64_t message, const SliceCode& code) const;
  [[nodiscard]] DeviceSpan values_of(const Slice& slice) const;
  [[nodiscard]] DeviceSpan last_of(const Mine& mine) const;
  [[nodiscard]] DeviceSpan scratch(const Slice& slice) const;
  void code_change(const Mine& mine);
  /// values += what the code stands for
  void apply(const Slice& slice, const SliceCode& code, DeviceSpan words, DeviceSpan to);

  SplitParts parts_;
  std::vector<Mine> mine_;
  std::vector<Incoming> incoming_;
  CodingErrors errors_;
  Buffer last_, scratch_;
  std::int64_t message_words_ = 0;
  std::unique_ptr<SharedSegments> memory_;  ///< of the messages: see NodeAllReduce
  std::vector<std::atomic<bool>> arrived_;  ///< by incoming message
  std::int64_t started_ = 0;
};

}  // namespace ballast
