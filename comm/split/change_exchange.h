// Defines: ChangeExchange: changes of the values, coded, on their way from the coordinators to the other nodes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/split/slice_code.h"
#include "comm/split/sum_exchange.h"
#include "comm/split/value_exchange.h"

namespace ballast {

/// The first values travel as they are. From then on the owner of a slice codes what has changed since the last time,
/// and everybody, the owner too, moves the values by what the code stands for. So all nodes keep the same values, and
/// what a code leaves out is in the next one. Memory of the backend: 8 bytes per element that I own.
class ChangeExchange final : public ForeignValues {
 public:
  /// Collective over the node. `my_slices` are not empty ones.
  ChangeExchange(const SplitParts& parts, const std::vector<Block>& blocks, const std::vector<Slice>& my_slices,
                 const GradientCoding& coding);

  void expect() override {}            // changes arrive in memory of their own
  void wait_for_readers() override {}  // they have what they read
  void start() override;
  /// Whatever is asked for, makes all changes of the last start() that this worker has received, and waits until its
  /// neighbours have, too.
  void use(std::span<const ElementRange> now, std::span<const ElementRange> next) override;
  void end() override {}
  [[nodiscard]] std::vector<CodingError> errors() const override { return errors_.all(); }

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

  void remember();
  void start_changes();
  void finish_changes();

  SplitParts parts_;
  ValueExchange first_;
  std::vector<Mine> mine_;
  std::vector<Incoming> incoming_;
  CodingErrors errors_;
  Buffer last_, scratch_;
  std::int64_t message_words_ = 0;
  std::unique_ptr<SharedSegments> memory_;  ///< of the messages: see NodeAllReduce
  std::vector<std::atomic<bool>> arrived_;  ///< by incoming message
  bool has_first_ = false;
  std::int64_t started_ = 0;  ///< changes
};

}  // namespace ballast
