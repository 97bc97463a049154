#include "launcher/plan/job_cut.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>

#include "compute/error.h"
#include "runtime/group_layout.h"
#include "runtime/state_tensors.h"

namespace ballast {
namespace {

using std::to_string;

int shards_for(const JobConfig& config, int workers) {
  const int shards = config.batch.shards > 0 ? static_cast<int>(config.batch.shards)
                                             : static_cast<int>(std::bit_ceil(static_cast<unsigned>(workers)));
  if (workers > shards) {
    throw ConfigError(to_string(workers) + " workers are more than batch.shards = " + to_string(shards) +
                      ": use at most " + to_string(shards) + " workers, or set batch.shards to " +
                      to_string(std::bit_ceil(static_cast<unsigned>(workers))) + " or more");
  }
  return shards;
}

std::vector<ShardRange> shared_out(int workers, int shards) {
  std::vector<ShardRange> held;
  held.reserve(static_cast<std::size_t>(workers));
  for (int rank = 0; rank < workers; ++rank) held.push_back(shards_of(rank, workers, shards));
  return held;
}

/// How many of the largest subtrees inside `range` and inside one group each there are: a whole group is one.
std::int64_t subtrees_of(ShardRange range, int shards, int group) {
  const auto inside = [shards](int begin, int end) {
    return static_cast<std::int64_t>(held_subtrees({begin, std::max(begin, end)}, shards).size());
  };
  const int first_end = (range.begin + group - 1) / group * group, last_begin = range.end / group * group;
  if (first_end > last_begin) return inside(range.begin, range.end);
  return inside(range.begin, first_end) + (last_begin - first_end) / group + inside(last_begin, range.end);
}

/// Of the workers [first, last): neighbouring shards too.
ShardRange range_of(const std::vector<ShardRange>& held, std::int64_t first, std::int64_t last) {
  ShardRange range;
  for (auto rank = static_cast<std::size_t>(first); rank < static_cast<std::size_t>(last); ++rank) {
    if (held[rank].begin == held[rank].end) continue;
    if (range.begin == range.end) range = held[rank];
    range.end = held[rank].end;
  }
  return range;
}

int group_count(const JobConfig& config, int shards) {
  const int groups = groups_of(config.comm, shards);
  const bool equal = groups <= shards && shards % groups == 0;
  const std::string words =
      "comm.groups = " + to_string(groups) + ": batch.shards = " + to_string(shards) + " must be ";
  const std::string remedy = "; use " + to_string(shards) + " groups, or 0";
  if (config.outer.every > 0) {
    if (!equal) throw ConfigError(words + "a multiple of it" + remedy);
  } else if (coding_of(config.comm).active() &&
             !(equal && std::has_single_bit(static_cast<unsigned>(shards / groups)))) {
    throw ConfigError(words + "that many times a power of two" + remedy);
  }
  return groups;
}

/// Several workers for each group.
void lay_out_teams(const Ownership& who, Copies& copies) {
  const auto workers = static_cast<int>(who.workers());
  std::vector<std::int64_t> on_node(static_cast<std::size_t>(who.nodes));
  std::int64_t nodes = 1;
  for (int group = 0; group < copies.groups; ++group) {
    const ShardRange team = shards_of(group, copies.groups, workers);
    const std::int64_t first = team.begin / who.workers_per_node, last = (team.end - 1) / who.workers_per_node;
    for (std::int64_t node = first; node <= last; ++node) ++on_node[static_cast<std::size_t>(node)];
    nodes = std::max(nodes, last - first + 1);
  }
  copies.smallest_team = workers / copies.groups;
  copies.team = {nodes, (copies.smallest_team + nodes - 1) / nodes, copies.team.coordinators};
  copies.of_node = std::ranges::max(on_node);
}

/// One or several groups for each worker.
void lay_out_alone(const Ownership& who, Copies& copies) {
  copies.team = {1, 1, copies.team.coordinators};
  copies.smallest_team = 1;
  copies.of_worker = copies.led.front().end - copies.led.front().begin;
  copies.of_node = range_of(copies.led, 0, who.workers_per_node).end;
}

void count_leaders(const Ownership& who, Copies& copies) {
  for (std::int64_t first = 0; first < who.workers(); first += who.workers_per_node) {
    std::int64_t led = 0, leaders = 0;
    for (std::int64_t rank = first; rank < first + who.workers_per_node; ++rank) {
      const ShardRange& groups = copies.led[static_cast<std::size_t>(rank)];
      led += groups.end - groups.begin;
      leaders += groups.end > groups.begin ? 1 : 0;
    }
    copies.led_on_node = std::max(copies.led_on_node, led);
    copies.leaders_on_node = std::max(copies.leaders_on_node, leaders);
  }
}

void require_possible_copies(const JobConfig& config, const Copies& copies) {
  if (config.compute.backend == "cuda") {
    throw ConfigError(
        "[outer] needs memory that the host can address: set compute.backend = \"cpu\", or outer.every = 0");
  }
  if (config.comm.sharding == "values" && copies.team.nodes > 1) {
    throw ConfigError(
        "comm.sharding = \"values\": with [outer] a group that lies on several nodes needs all of its weights at "
        "times: set comm.sharding = \"gradients\"");
  }
}

}  // namespace

BatchCut cut_batch(const JobConfig& config, int workers) {
  BatchCut cut{.shards = shards_for(config, workers)};
  cut.shard = (config.batch.size + cut.shards - 1) / cut.shards;
  cut.micro = config.batch.micro > 0 ? std::min(config.batch.micro, cut.shard) : cut.shard;
  return cut;
}

GradientParts gradient_parts(const std::vector<ShardRange>& held, std::int64_t workers_per_node, int shards,
                             int group) {
  GradientParts most;
  std::vector<std::int64_t> parts;  // by worker
  for (const ShardRange& mine : held) {
    // Shards before the latest are added up as far as the tree allows; the latest one lies on top of them.
    for (int shard = mine.begin; shard < mine.end; ++shard) {
      most.buffers = std::max(most.buffers, 1 + subtrees_of({mine.begin, shard}, shards, group));
    }
    const bool none = mine.begin == mine.end;
    parts.push_back(none ? 0 : 1 + subtrees_of({mine.begin, mine.end - 1}, shards, group));
    most.parts = std::max(most.parts, parts.back());
  }
  std::int64_t total = 0, least = shards;
  const auto workers = static_cast<std::int64_t>(held.size());
  for (std::int64_t first = 0; first < workers; first += workers_per_node) {
    const std::int64_t last = std::min(first + workers_per_node, workers);
    const ShardRange range = range_of(held, first, last);
    const std::int64_t subtrees = subtrees_of(range, shards, group);
    total += subtrees;
    least = std::min(least, subtrees);
    most.subtrees = std::max(most.subtrees, subtrees);
    most.on_node =
        std::max(most.on_node, std::accumulate(parts.begin() + first, parts.begin() + last, std::int64_t{0}));
    most.whole_groups = most.whole_groups && range.begin % group == 0 && range.end % group == 0;
  }
  most.others = total - least;
  return most;
}

Copies lay_out_copies(const JobConfig& config, int shards, const Ownership& who) {
  Copies copies{
      .groups = group_count(config, shards), .shards = shards, .team = who, .smallest_team = who.workers(), .led = {}};
  if (config.outer.every == 0) return copies;
  copies.led = lay_out_groups(0, static_cast<int>(who.workers()), copies.groups, shards).led;
  copies.shards = shards / copies.groups;
  if (who.workers() > copies.groups) {
    lay_out_teams(who, copies);
  } else {
    lay_out_alone(who, copies);
  }
  count_leaders(who, copies);
  return copies;
}

GradientParts parts_of_copy(const JobConfig& config, const Copies& copies, const Ownership& who) {
  if (config.outer.every == 0) {
    const int group = coding_of(config.comm).active() ? copies.shards / copies.groups : copies.shards;
    return gradient_parts(shared_out(static_cast<int>(who.workers()), copies.shards), who.workers_per_node,
                          copies.shards, group);
  }
  // Some teams may have a worker more than others.
  const auto smallest = static_cast<int>(copies.smallest_team);
  const int largest = std::max(smallest, static_cast<int>((who.workers() + copies.groups - 1) / copies.groups));
  const auto parts_of = [&](int size) {
    return gradient_parts(shared_out(size, copies.shards), copies.team.workers_per_node, copies.shards, copies.shards);
  };
  GradientParts parts = parts_of(smallest);
  const GradientParts larger = parts_of(largest);
  parts.buffers = std::max(parts.buffers, larger.buffers);
  parts.parts = std::max(parts.parts, larger.parts);
  return parts;
}

GradientParts parts_of_exchange(const JobConfig& config, const Copies& copies, const Ownership& who) {
  const int group = coding_of(config.comm).active() ? 1 : copies.groups;
  return gradient_parts(copies.led, who.workers_per_node, copies.groups, group);
}

void require_possible(const JobConfig& config, const Ownership& who) {
  const Copies copies = lay_out_copies(config, cut_batch(config, static_cast<int>(who.workers())).shards, who);
  if (config.outer.every > 0) return require_possible_copies(config, copies);
  if (!coding_of(config.comm).active() || parts_of_copy(config, copies, who).whole_groups) return;
  throw ConfigError("comm.groups = " + to_string(copies.groups) +
                    ": the shards of a group would lie on several nodes, but a group's gradient is compressed on one: "
                    "use up to " +
                    to_string(copies.shards) + " groups, or as many workers on every node");
}

}  // namespace ballast
