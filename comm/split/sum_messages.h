// Defines: SumMessages: what of a SumPlan travels, where it lies, and what is added in the end.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/split/coded_sums.h"
#include "comm/split/sum_plan.h"
#include "compute/backend.h"

namespace ballast {

/// Lays out memory for messages and fills it by the backend's operations, in the order of the calls. Sums of a single
/// part that are not coded leave from where they are.
class SumMessages {
 public:
  /// Of the gradients that a LocalSum names: the whole flat buffer.
  using GradientsOf = std::function<ConstDeviceSpan(const LocalSum&)>;

  /// `backend` and `plan` must outlive it.
  SumMessages(Backend& backend, const SumPlan& plan, const std::vector<Block>& blocks, const GradientCoding& coding,
              GradientsOf gradients);

  /// Bytes that place() must get: memory that the backend's operations may address.
  [[nodiscard]] std::int64_t bytes() const;
  void place(void* memory) { memory_ = memory; }

  /// What leaves as plan.outgoing[bucket][message]; there when the backend is done.
  [[nodiscard]] ConstDeviceSpan outgoing(int bucket, std::size_t message);
  /// Where plan.addends[addend] of plan.my_slices[index] arrives; it is of another node.
  [[nodiscard]] DeviceSpan incoming(int index, std::size_t addend) const;
  /// What plan.addends[addend] adds to plan.my_slices[index]; of another node: what has arrived. Holds until the next
  /// call for another slice.
  [[nodiscard]] ConstDeviceSpan addend(int index, std::size_t addend);
  [[nodiscard]] std::vector<CodingError> coding_errors() const { return coded_.errors(); }

 private:
  /// In words of 4 bytes.
  struct Place {
    std::int64_t offset = 0, words = 0;
  };
  [[nodiscard]] Place reserve(std::int64_t words);
  [[nodiscard]] DeviceSpan at(const Place& place) const;
  /// The sum, which is put into `to` where it has several parts.
  [[nodiscard]] ConstDeviceSpan sum_of(const PartialSum& sum, const Slice& slice, DeviceSpan to) const;

  Backend& backend_;
  const SumPlan& plan_;
  GradientsOf gradients_;
  CodedSums coded_;
  std::vector<std::vector<Place>> outgoing_;  ///< as plan.outgoing
  std::vector<Place> incoming_;               ///< by slice of mine and addend that travels
  std::int64_t words_ = 0;
  void* memory_ = nullptr;
};

}  // namespace ballast
