#include "runtime/owned_runs.h"

#include <algorithm>
#include <span>

namespace ballast {
namespace {

constexpr std::int64_t kBlockElements = 8192;

}  // namespace

std::vector<Block> blocks_of(const ParameterTable& parameters) {
  std::vector<Block> blocks;
  for (const Parameter& parameter : parameters.all()) {
    const std::int64_t end = parameter.offset + parameter.size;
    const bool statistic = parameter.kind == ParameterKind::kStatistic;
    for (std::int64_t begin = parameter.offset; begin < end; begin += kBlockElements) {
      blocks.push_back({begin, std::min(begin + kBlockElements, end), parameter.compute, statistic});
    }
  }
  return blocks;
}

OwnedRuns::OwnedRuns(const ParameterTable& parameters, const std::vector<Block>& blocks,
                     const std::vector<Slice>& my_slices)
    : parts_(blocks.size()) {
  int parameter = 0;
  for (const Block& block : blocks) {
    while (block.begin >= parameters[parameter].offset + parameters[parameter].size) ++parameter;
    block_parameter_.push_back(parameter);
  }
  for (const Slice& slice : my_slices) {
    for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
      const auto at = static_cast<std::size_t>(b);
      const bool first = b == slice.first_block || block_parameter_[at] != block_parameter_[at - 1];
      if (first) runs_.push_back({.parameter = block_parameter_[at], .first_block = b, .begin = blocks[at].begin});
      OwnedRun& run = runs_.back();
      run.end = blocks[at].end;
      ++run.block_count;
      parts_[at] = {blocks[at].begin - run.begin, blocks[at].end - run.begin};
    }
  }
  for (OwnedRun& run : runs_) {
    if (parameters[run.parameter].kind != ParameterKind::kTrained) continue;
    run.state = state_elements_;
    state_elements_ += run.end - run.begin;
  }
}

void fill_with_initial_values(const ParameterTable& parameters, const OwnedRuns& runs, std::uint64_t seed,
                              DeviceSpan values, Backend& backend) {
  std::vector<float> host;
  for (const OwnedRun& run : runs) {
    const Parameter& parameter = parameters[run.parameter];
    host.resize(static_cast<std::size_t>(run.end - run.begin));
    initial_values(parameter, seed, run.begin - parameter.offset, host);
    backend.upload(std::as_bytes(std::span(host)), values.subspan(run.begin, run.end - run.begin));
    backend.synchronize();  // `host` is filled again
  }
}

}  // namespace ballast
