#include "launcher/plan/outer_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "launcher/plan/task_list.h"

namespace ballast {
namespace {

constexpr Way kDifferences{"send differences", "receive differences"};
constexpr Way kOuterValues{"send outer values", "receive outer values"};
constexpr Way kCopies{"send values", "receive values"};
constexpr const char* kInner = "inner steps";
constexpr const char* kInnerTraffic = "inner traffic";
constexpr int kPeriods = 3;
constexpr std::int64_t kMostPieces = 64;  // that steps between two exchanges are cut into where both need the link
constexpr double kElementBytes = 4.0;

// Of memory, per element. A difference is a copy and a subtraction; two of them are added by reading both.
constexpr double kDifferenceBytes = 20.0, kAdditionBytes = 12.0;
// A change is coded (comm/split/change_exchange.h): copied, subtracted from, decoded, added and copied back.
constexpr double kChangeBytes = 48.0, kErrorBytes = 8.0;
constexpr double kAppliedBytes = 16.0;  // ... and elsewhere decoded and added

double elements_of(const std::vector<BucketLoad>& buckets) {
  double elements = 0.0;
  for (const BucketLoad& bucket : buckets) elements += bucket.elements();
  return elements;
}

class PeriodScript {
 public:
  PeriodScript(const OuterLoad& load, const StepPrediction& inner, const std::vector<BucketLoad>& copy,
               const std::vector<std::vector<BucketLoad>>& fragments, const Ownership& who,
               const ClusterSection& cluster)
      : load_(load), inner_(inner), copy_(copy), fragments_(fragments), who_(who), list_(cluster) {
    for (std::size_t i = 0; i < inner.tasks.size(); ++i) {
      if (inner.tasks[i].resource == Resource::kLinkIn) inner_in_ += inner.times[i].end - inner.times[i].begin;
    }
    leading_nodes_ = static_cast<double>(who.nodes) / static_cast<double>(load.team.nodes);
    exchanges_.resize(fragments.size());
  }

  void write() {
    std::int64_t at = 0;
    for (const auto& [step, events] : schedule()) {
      if (step > kPeriods * load_.every) break;
      inner_steps(step - at);
      at = step;
      handle(events);
      if (step % load_.every == 0) ends_.push_back(list_.last());
    }
  }
  [[nodiscard]] const TaskList& list() const { return list_; }
  [[nodiscard]] const std::vector<int>& ends() const { return ends_; }  ///< of periods

 private:
  /// Fragments, behind one step.
  struct Events {
    std::vector<std::size_t> reduced, taken_over, sent;
  };

  [[nodiscard]] std::map<std::int64_t, Events> schedule() const {
    std::map<std::int64_t, Events> events;
    const auto count = static_cast<std::int64_t>(fragments_.size());
    for (std::int64_t period = 0; period < kPeriods; ++period) {
      for (std::int64_t f = 0; f < count; ++f) {
        const auto fragment = static_cast<std::size_t>(f);
        const std::int64_t sent = period * load_.every + (f == 0 ? load_.every : f * load_.every / count);
        events[sent].sent.push_back(fragment);
        if (load_.delay == 0) continue;
        events[sent + (load_.delay + 1) / 2].reduced.push_back(fragment);
        events[sent + load_.delay].taken_over.push_back(fragment);
      }
    }
    return events;
  }

  void handle(const Events& events) {
    for (const std::size_t fragment : events.reduced) reduce(fragment);
    for (const std::size_t fragment : events.taken_over) take_over(fragment);
    for (const std::size_t fragment : events.sent) {
      send(fragment);
      if (load_.delay > 0) continue;
      reduce(fragment);
      take_over(fragment);
    }
    if (!events.taken_over.empty() || (load_.delay == 0 && !events.sent.empty())) publish_copies();
  }

  void work(const char* phase, std::size_t fragment, double bytes, std::vector<int> also = {}) {
    list_.work(phase, "fragment " + std::to_string(fragment), list_.memory_seconds(bytes), true, std::move(also));
  }

  /// What they send goes first: training waits for it in any case.
  void inner_steps(std::int64_t count) {
    const bool traffic = inner_.link_out_seconds > 0.0;
    const std::int64_t pieces = traffic ? std::min(count, kMostPieces) : std::min<std::int64_t>(count, 1);
    for (std::int64_t i = 0; i < pieces; ++i) {
      const std::int64_t steps = count * (i + 1) / pieces - count * i / pieces;
      const double times = static_cast<double>(steps) * load_.of_worker;
      const Passage before = std::exchange(inner_passage_, {});
      if (traffic) inner_passage_ = inner_traffic(times);
      std::vector<int> also;
      if (before.out >= 0) also = {before.out, before.in};
      list_.work(kInner, std::to_string(steps) + " steps", times * inner_.seconds, false, std::move(also));
    }
  }

  Passage inner_traffic(double times) {
    const auto one = [&](Resource link, double seconds, double bytes, double messages) {
      return list_.add({.phase = kInnerTraffic,
                        .name = "of a team",
                        .resource = link,
                        .seconds = times * seconds,
                        .after = list_.last() >= 0 ? std::vector<int>{list_.last()} : std::vector<int>(),
                        .bytes = times * bytes,
                        .messages = times * messages,
                        .urgent = true});
    };
    const int out = one(Resource::kLinkOut, inner_.link_out_seconds, inner_.bytes_out, inner_.messages_out);
    return {out, one(Resource::kLinkIn, inner_in_, inner_.bytes_in, 0.0)};
  }

  /// Sums of differences that come from other nodes.
  [[nodiscard]] double others() const { return std::max(0.0, leading_nodes_ - 1.0) * load_.sums.subtrees; }
  [[nodiscard]] double other_nodes() const { return static_cast<double>(who_.nodes - 1); }

  void exchange(std::size_t fragment, const Way& way, const Traffic& traffic) {
    if (who_.nodes == 1) return;
    const Passage passage = list_.exchange(way, "fragment " + std::to_string(fragment), traffic);
    exchanges_[fragment].insert(exchanges_[fragment].end(), {passage.out, passage.in});
  }

  /// The leader has its copy whole and current, hands over how far it has gone, and its node sends what others own.
  void send(std::size_t fragment) {
    std::vector<int> gathered;
    if (load_.team.nodes > 1) {
      const Passage passage = list_.exchange(kCopies, "copies", traffic_of_copy(/*f32=*/true));
      gathered = {passage.out, passage.in};
    }
    const double bytes = kDifferenceBytes * load_.led + kAdditionBytes * std::max(0.0, load_.led - load_.sums.parts);
    work("differences", fragment, bytes * elements_of(fragments_[fragment]), std::move(gathered));
    for (const BucketLoad& bucket : fragments_[fragment]) {
      const double before = who_.nodes > 1 ? load_.sums.before_sending(bucket.foreign(), bucket.foreign_coded()) : 0.0;
      if (before > 0.0) work(load_.sums.coded ? "code sums" : "add on node", fragment, before);
      exchange(fragment, kDifferences,
               {load_.sums.subtrees * bucket.foreign_coded(), others() * bucket.owned_coded(),
                load_.sums.subtrees * static_cast<double>(bucket.slices - bucket.my_slices),
                others() * static_cast<double>(bucket.my_slices)});
    }
  }

  void reduce(std::size_t fragment) {
    double bytes = 0.0;
    for (const BucketLoad& bucket : fragments_[fragment]) {
      const auto owned = static_cast<double>(bucket.owned);
      bytes += load_.sums.in_the_end(owned, bucket.owned_coded(), others()) + owned * load_.update_bytes;
      if (!load_.sums.coded) continue;
      bytes += owned * (kChangeBytes + (load_.sums.errors ? kErrorBytes : 0.0)) + 2.0 * bucket.owned_coded();
    }
    work("sum over groups", fragment, bytes, std::exchange(exchanges_[fragment], {}));
    for (const BucketLoad& bucket : fragments_[fragment]) {
      const bool coded = load_.sums.coded;
      const double mine = coded ? bucket.owned_coded() : kElementBytes * static_cast<double>(bucket.owned);
      const double theirs = coded ? bucket.foreign_coded() : kElementBytes * bucket.foreign();
      exchange(fragment, kOuterValues,
               {other_nodes() * mine, theirs, other_nodes() * static_cast<double>(bucket.my_slices),
                static_cast<double>(bucket.slices - bucket.my_slices)});
    }
  }

  void take_over(std::size_t fragment) {
    double bytes = load_.take_over_bytes * load_.of_node * elements_of(fragments_[fragment]);
    for (const BucketLoad& bucket : fragments_[fragment]) {
      if (load_.sums.coded) bytes += kAppliedBytes * bucket.foreign() + bucket.foreign_coded();
    }
    work("take over", fragment, bytes, std::exchange(exchanges_[fragment], {}));
  }

  /// Copies that lie on several nodes are published as behind every step, but nothing hides it.
  void publish_copies() {
    const double bytes = load_.refresh_bytes * load_.of_node * elements_of(copy_);
    std::vector<int> published;
    if (load_.team.nodes > 1) {
      const Passage passage = list_.exchange(kCopies, "copies", traffic_of_copy(/*f32=*/false));
      published = {passage.out, passage.in};
    }
    if (bytes == 0.0 && published.empty()) return;
    list_.work("take over", "copies", list_.memory_seconds(bytes), true, std::move(published));
  }

  [[nodiscard]] Traffic traffic_of_copy(bool f32) const {
    const auto others = static_cast<double>(load_.team.nodes - 1);
    Traffic traffic;
    for (const BucketLoad& bucket : copy_) {
      const double mine = f32 ? kElementBytes * static_cast<double>(bucket.owned) : bucket.owned_published();
      const double theirs = f32 ? kElementBytes * bucket.foreign() : bucket.foreign_published();
      traffic.add({others * mine, theirs, others * static_cast<double>(bucket.my_slices),
                   static_cast<double>(bucket.slices - bucket.my_slices)});
    }
    return traffic;
  }

  const OuterLoad& load_;
  const StepPrediction& inner_;
  const std::vector<BucketLoad>& copy_;
  const std::vector<std::vector<BucketLoad>>& fragments_;
  const Ownership& who_;
  TaskList list_;
  double inner_in_ = 0.0;                    // seconds that the link receives in an inner step
  double leading_nodes_ = 1.0;               // nodes that send differences
  Passage inner_passage_;                    // of the latest inner steps
  std::vector<std::vector<int>> exchanges_;  // by fragment: messages that nobody has waited for
  std::vector<int> ends_;
};

/// Inner steps are told as what they consist of, and each phase of the exchanges once.
std::vector<StepPrediction::Stretch> mean_path(const std::vector<StepPrediction::Stretch>& period,
                                               const StepPrediction& inner, double steps) {
  std::vector<StepPrediction::Stretch> path;
  double inner_seconds = 0.0;
  for (const auto& [phase, seconds] : period) {
    if (std::strcmp(phase, kInner) == 0) {
      inner_seconds += seconds;
      continue;
    }
    const auto known = std::ranges::find_if(path, [&](const auto& p) { return std::strcmp(p.phase, phase) == 0; });
    if (known == path.end()) {
      path.push_back({phase, seconds / steps});
    } else {
      known->seconds += seconds / steps;
    }
  }
  std::vector<StepPrediction::Stretch> all;
  all.reserve(inner.critical_path.size() + path.size());
  for (const auto& [phase, seconds] : inner.critical_path) {
    all.push_back({phase, seconds * inner_seconds / inner.seconds / steps});
  }
  all.insert(all.end(), path.begin(), path.end());
  return all;
}

}  // namespace

StepPrediction predict_period(const OuterLoad& load, const StepPrediction& inner, const std::vector<BucketLoad>& copy,
                              const std::vector<std::vector<BucketLoad>>& fragments, const Ownership& who,
                              const ClusterSection& cluster) {
  PeriodScript script(load, inner, copy, fragments, who, cluster);
  script.write();
  const std::vector<int>& ends = script.ends();
  StepPrediction mean = predict_between(script.list(), *(ends.end() - 2), ends.back());
  const auto steps = static_cast<double>(load.every);
  mean.steps = load.every;
  mean.critical_path = mean_path(mean.critical_path, inner, steps);
  for (double StepPrediction::*number :
       {&StepPrediction::seconds, &StepPrediction::worker_seconds, &StepPrediction::link_out_seconds,
        &StepPrediction::bytes_out, &StepPrediction::bytes_in, &StepPrediction::messages_out}) {
    mean.*number /= steps;
  }
  mean.worker_seconds -= load.of_worker * inner.exposed_seconds();
  return mean;
}

}  // namespace ballast
