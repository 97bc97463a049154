#include "comm/split/coded_sums.h"

#include <algorithm>

namespace ballast {
namespace {

constexpr std::int64_t kAlign = 64;  ///< elements: 256 bytes

std::int64_t elements_of(const Slice& slice) { return slice.end - slice.begin; }

bool same(const Slice& a, const Slice& b) { return a.bucket == b.bucket && a.owner == b.owner; }

/// All addends are groups, and so of one size.
int group_of(const PartialSum& sum) { return sum.shards.begin / (sum.shards.end - sum.shards.begin); }

}  // namespace

CodedSums::CodedSums(Backend& backend, const SumPlan& plan, const std::vector<Block>& blocks,
                     const GradientCoding& coding)
    : backend_(backend), coding_(coding), errors_(coding) {
  if (!active()) return;
  plan_messages(plan, blocks);
  plan_slices(plan, blocks);
  errors_.allocate(backend);
  if (most_elements_ == 0) return;
  most_elements_ = (most_elements_ + kAlign - 1) / kAlign * kAlign;
  sum_ = Buffer(backend, most_elements_, DType::kF32);
  code_ = Buffer(backend, most_words_, DType::kI32);
  decoded_ = Buffer(backend, most_elements_ * std::ssize(plan.addends), DType::kF32);
}

void CodedSums::plan_messages(const SumPlan& plan, const std::vector<Block>& blocks) {
  const Slice* latest = nullptr;  // messages of one slice are neighbours
  for (const std::vector<OutgoingSum>& of_bucket : plan.outgoing) {
    auto& messages = messages_.emplace_back();
    for (const OutgoingSum& message : of_bucket) {
      if (latest == nullptr || !same(*latest, message.slice)) {
        outgoing_codes_.push_back(slice_code(message.slice, blocks, coding_));
        count(message.slice, outgoing_codes_.back());
      }
      latest = &message.slice;
      messages.push_back({outgoing_codes_.size() - 1, errors_.reserve(message.slice, group_of(message.sum))});
    }
  }
}

void CodedSums::plan_slices(const SumPlan& plan, const std::vector<Block>& blocks) {
  for (const Slice& slice : plan.my_slices) {
    mine_.push_back(slice_code(slice, blocks, coding_));
    elements_.push_back(elements_of(slice));
    count(slice, mine_.back());
    auto& errors = mine_errors_.emplace_back();
    for (const Addend& addend : plan.addends) {
      errors.push_back(addend.node < 0 ? errors_.reserve(slice, group_of(addend.sum)) : 0);
    }
  }
}

void CodedSums::count(const Slice& slice, const SliceCode& code) {
  most_elements_ = std::max(most_elements_, elements_of(slice));
  most_words_ = std::max(most_words_, code.words);
}

std::int64_t CodedSums::words_of_message(int bucket, std::size_t message) const {
  return outgoing_codes_[at(messages_, bucket)[message].code].words;
}

DeviceSpan CodedSums::decoded_place(std::size_t addend, std::int64_t elements) const {
  return decoded_.span().subspan(static_cast<std::int64_t>(addend) * most_elements_, elements);
}

void CodedSums::encode(int bucket, std::size_t message, ConstDeviceSpan x, DeviceSpan code) {
  const Message& known = at(messages_, bucket)[message];
  backend_.compress(outgoing_codes_[known.code].blocks, x, errors_.of(known.error), code);
}

ConstDeviceSpan CodedSums::recoded(int index, std::size_t addend, ConstDeviceSpan x) {
  const DeviceSpan code = code_.span().subspan(0, words_of_slice(index));
  backend_.compress(at(mine_, index).blocks, x, errors_.of(at(mine_errors_, index)[addend]), code);
  return decoded(index, addend, code);
}

ConstDeviceSpan CodedSums::decoded(int index, std::size_t addend, ConstDeviceSpan code) {
  const DeviceSpan place = decoded_place(addend, at(elements_, index));
  backend_.decompress(at(mine_, index).blocks, code, place);
  return place;
}

}  // namespace ballast
