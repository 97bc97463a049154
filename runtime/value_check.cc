#include "runtime/value_check.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <string>

#include "comm/flight_record.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::int64_t kPieceElements = 1 << 20;
constexpr std::int64_t kNotMine = std::numeric_limits<std::int64_t>::max();

/// What a worker knows of a piece that differs.
struct Opinion {
  std::int64_t copy = 0;
  std::int64_t digest = kNotMine;
};

std::vector<Opinion> gather(Communicator& world, const Opinion& mine) {
  std::vector<Opinion> opinions;
  for (const auto& bytes : world.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&opinions.emplace_back(), bytes.data(), sizeof(Opinion));
  }
  return opinions;
}

/// The workers by what their copy holds; those of the most frequent content last.
std::vector<std::vector<int>> parties_of(const std::vector<Opinion>& opinions) {
  std::map<std::int64_t, std::int64_t> content;  // by copy
  for (const Opinion& opinion : opinions) {
    if (opinion.digest != kNotMine) content[opinion.copy] = opinion.digest;
  }
  std::map<std::int64_t, std::vector<int>> by_content;
  for (std::size_t rank = 0; rank < opinions.size(); ++rank) {
    by_content[content[opinions[rank].copy]].push_back(static_cast<int>(rank));
  }
  std::vector<std::vector<int>> parties;
  parties.reserve(by_content.size());
  for (const auto& [digest, ranks] : by_content) parties.push_back(ranks);
  std::ranges::sort(parties, [](const auto& a, const auto& b) {
    return a.size() != b.size() ? a.size() < b.size() : a.front() > b.front();
  });
  return parties;
}

}  // namespace

std::string layout_digest(const ParameterTable& parameters) {
  std::string layout;
  for (const Parameter& parameter : parameters.all()) {
    layout += parameter.name + parameter.shape.to_string() + "@" + std::to_string(parameter.offset) + ";";
  }
  std::array<char, 24> digest{};
  std::snprintf(digest.data(), digest.size(), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(layout.data(), layout.size())));
  return std::to_string(parameters.count()) + " parameters, " + digest.data();
}

ValueCheck::ValueCheck(const ParameterTable& parameters, SplitAllReduce& values, Backend& backend, Communicator& world,
                       bool shared)
    : parameters_(parameters),
      values_(values),
      backend_(backend),
      world_(world),
      copy_(shared ? world.split_by_node() : world.split(world.rank())),
      first_(world.rank()) {
  copy_->all_reduce(std::span(&first_, 1), Reduction::kMin);
  copies_ = first_ == world_.rank() ? 1 : 0;
  world_.all_reduce(std::span(&copies_, 1), Reduction::kSum);
  for (int p = 0; p < parameters_.count(); ++p) {
    for (std::int64_t begin = 0; begin < parameters_[p].size; begin += kPieceElements) {
      pieces_.push_back({p, begin, std::min(begin + kPieceElements, parameters_[p].size)});
    }
  }
}

std::int64_t ValueCheck::digest(const Piece& piece) {
  const Parameter& parameter = parameters_[piece.parameter];
  const DeviceSpan all = parameter.compute == DType::kBF16 ? values_.compute_values() : values_.values();
  const DeviceSpan span = all.subspan(parameter.offset + piece.begin, piece.end - piece.begin);
  const auto bytes = static_cast<std::size_t>(span.bytes());
  const void* memory = span.data;
  if (!backend_.host_addressable()) {
    host_.resize(bytes);
    backend_.download(span, host_);
    backend_.synchronize();
    memory = host_.data();
  }
  return static_cast<std::int64_t>(XXH3_64bits(memory, bytes));
}

// A piece is equal everywhere exactly where its least digest is the greatest: min(h) = ~min(~h).
void ValueCheck::run(std::int64_t step) {
  const ElementRange all{0, parameters_.flat_size()};
  values_.use_values(std::span(&all, 1), {});  // a worker without samples in this step has not asked for them
  backend_.synchronize();
  least_.assign(2 * pieces_.size(), kNotMine);
  const auto sharers = static_cast<std::size_t>(copy_->size());
  for (auto i = static_cast<std::size_t>(copy_->rank()); i < pieces_.size(); i += sharers) {
    least_[i] = digest(pieces_[i]);
    least_[pieces_.size() + i] = ~least_[i];
  }
  world_.all_reduce(least_, Reduction::kMin);
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (least_[i] == ~least_[pieces_.size() + i]) continue;
    const bool mine = i % sharers == static_cast<std::size_t>(copy_->rank());
    report(step, pieces_[i], mine ? digest(pieces_[i]) : kNotMine);
  }
  values_.use_values({}, {});
}

void ValueCheck::report(std::int64_t step, const Piece& piece, std::int64_t digest) {
  const auto parties = parties_of(gather(world_, {first_, digest}));
  std::string odd;
  for (std::size_t i = 0; i + 1 < parties.size(); ++i) {
    if (i > 0) odd += ", ";
    odd += rank_list(parties[i]);
  }
  const bool tie = parties.size() > 1 && parties.front().size() == parties.back().size();
  throw Error("step " + std::to_string(step) + ": the workers disagree about the weights: " + odd + " and " +
                  rank_list(parties.back()) + " hold different values of " + parameters_[piece.parameter].name +
                  " (elements " + std::to_string(piece.begin) + " to " + std::to_string(piece.end - 1) + ")" +
                  (tie ? "" : "; the former are the odd ones") +
                  ". Start again from the last checkpoint; if it happens again, test the memory and the network there",
              ExitCode::kDesync);
}

}  // namespace ballast
