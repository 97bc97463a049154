// Defines: CodedSums: the groups' sums of a step, in fewer bits and back.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split/slice_code.h"
#include "comm/split/sum_plan.h"
#include "compute/backend.h"

namespace ballast {

/// Every group's sum is coded by one worker of the group's node: for slices of another node by the slice's contact,
/// which sends the code, otherwise by the slice's owner. So the owner adds up what codes stand for, all of them, and
/// each group's errors lie in one place. Not active(), it holds nothing.
/// Memory of the backend: 4 bytes per element for the errors of what is coded here, and a slice for each group.
class CodedSums {
 public:
  CodedSums(Backend& backend, const SumPlan& plan, const std::vector<Block>& blocks, const GradientCoding& coding);

  [[nodiscard]] bool active() const { return coding_.active(); }
  /// Words of the code of plan.outgoing[bucket][message], and of each addend of plan.my_slices[index].
  [[nodiscard]] std::int64_t words_of_message(int bucket, std::size_t message) const;
  [[nodiscard]] std::int64_t words_of_slice(int index) const { return at(mine_, index).words; }
  /// A place for a sum that is coded next.
  [[nodiscard]] DeviceSpan scratch(std::int64_t elements) const { return sum_.span().subspan(0, elements); }

  /// Codes x, the sum of plan.outgoing[bucket][message].
  void encode(int bucket, std::size_t message, ConstDeviceSpan x, DeviceSpan code);
  /// What the code of x stands for; x is addend `addend` of plan.my_slices[index] and of this node. The result holds
  /// until the same call for another slice.
  [[nodiscard]] ConstDeviceSpan recoded(int index, std::size_t addend, ConstDeviceSpan x);
  /// What `code`, which has come from another node, stands for. Likewise.
  [[nodiscard]] ConstDeviceSpan decoded(int index, std::size_t addend, ConstDeviceSpan code);
  [[nodiscard]] std::vector<CodingError> errors() const { return errors_.all(); }

 private:
  template <typename T>
  static const T& at(const std::vector<T>& all, int index) {
    return all[static_cast<std::size_t>(index)];
  }
  void plan_messages(const SumPlan& plan, const std::vector<Block>& blocks);
  void plan_slices(const SumPlan& plan, const std::vector<Block>& blocks);
  void count(const Slice& slice, const SliceCode& code);
  [[nodiscard]] DeviceSpan decoded_place(std::size_t addend, std::int64_t elements) const;

  /// An outgoing message: its slice's code, and where its group's errors lie.
  struct Message {
    std::size_t code = 0, error = 0;
  };

  Backend& backend_;
  GradientCoding coding_;
  CodingErrors errors_;
  std::vector<SliceCode> outgoing_codes_;              ///< by slice with messages
  std::vector<std::vector<Message>> messages_;         ///< as plan.outgoing
  std::vector<SliceCode> mine_;                        ///< as plan.my_slices
  std::vector<std::int64_t> elements_;                 ///< of my slices
  std::vector<std::vector<std::size_t>> mine_errors_;  ///< by slice of mine and addend; of this node's only
  std::int64_t most_elements_ = 0, most_words_ = 0;    ///< of a slice
  Buffer sum_, code_, decoded_;
};

}  // namespace ballast
