#include "launcher/plan/step_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "launcher/plan/sum_work.h"
#include "launcher/plan/task_list.h"

namespace ballast {
namespace {

constexpr Way kSums{"send sums", "receive sums"};
constexpr Way kValues{"send values", "receive values"};
constexpr Way kGathered{"send values", "receive values", /*urgent=*/true};
constexpr double kElementBytes = 4.0;
constexpr double kBlockElements = 8192.0;
constexpr int kSteps = 3;

/// Writes down the tasks of some steps, in the order in which the program does them.
class Script {
 public:
  Script(const StepLoad& load, const std::vector<BucketLoad>& buckets, const Ownership& who,
         const ClusterSection& cluster)
      : load_(load),
        buckets_(buckets),
        who_(who),
        cluster_(cluster),
        sum_work_{workers() * load.parts, load.subtrees, load.coded, load.coding_errors},
        list_(cluster),
        gathers_values_(load.gather_values && who.nodes > 1),
        window_(buckets, gathers_values_ ? load.reads() : std::vector<ValueRanges>()),
        gathered_(buckets.size()) {}

  void add_step() {
    unseen_values_ = static_cast<int>(buckets_.size()) - 1;
    first_pass();
    backward(/*hands_over=*/true);
    reduce();
    update();
    publish();
  }
  [[nodiscard]] const TaskList& list() const { return list_; }
  [[nodiscard]] const std::vector<int>& updates() const { return updates_; }

 private:
  void work(const char* phase, std::string name, double seconds, bool memory, std::vector<int> also = {}) {
    list_.work(phase, std::move(name), seconds, memory, std::move(also));
  }
  [[nodiscard]] double memory_seconds(double bytes) const { return list_.memory_seconds(bytes); }

  [[nodiscard]] double pass_seconds(double flops, double bytes) const {
    return (flops / cluster_.flops + memory_seconds(bytes * workers())) / cluster_.efficiency;
  }
  [[nodiscard]] double workers() const { return static_cast<double>(who_.workers_per_node); }
  [[nodiscard]] double others() const { return static_cast<double>(who_.nodes - 1); }
  [[nodiscard]] double forward_seconds(const StepLoad::Operation& op) const {
    return pass_seconds(op.forward_flops, op.forward_bytes);
  }
  [[nodiscard]] double backward_seconds(const StepLoad::Operation& op) const {
    return pass_seconds(op.backward_flops, op.backward_bytes);
  }

  /// New values of the step before arrive beside it.
  void first_pass() {
    forward();
    if (load_.passes == 1) return;
    double forward_of_pass = 0.0, backward_of_pass = 0.0;
    for (const StepLoad::Operation& op : load_.operations) {
      forward_of_pass += forward_seconds(op);
      backward_of_pass += backward_seconds(op);
      for (const int again : op.again) backward_of_pass += forward_seconds(operation(again));
    }
    if (gathers_values_) {
      backward(/*hands_over=*/false);
    } else {
      work("backward", "first micro-batch", backward_of_pass, false);
    }
    if (load_.passes > 2) passes_between(static_cast<double>(load_.passes - 2), forward_of_pass + backward_of_pass);
    if (load_.shard_additions > 0.0) {
      work("add shards", "shards of a worker",
           memory_seconds(load_.shard_additions * 3.0 * gradient_bytes() * workers()), true);
    }
    if (gathers_values_) {
      forward();
    } else {
      work("forward", "last micro-batch", forward_of_pass, false);
    }
  }

  /// They are alike. What they gather comes beside them.
  void passes_between(double count, double seconds) {
    Traffic traffic;
    for (std::size_t i = 0; i < window_.reads(); ++i) {
      for (const int bucket : window_.next())
        traffic.add(traffic_of_values(buckets_[static_cast<std::size_t>(bucket)]));
    }
    Passage passage;
    if (gathers_values_) passage = exchange_values("micro-batches between", traffic.times(count));
    work("forward and backward", "micro-batches between", count * seconds, false);
    if (gathers_values_) work("forward and backward", "micro-batches between", 0.0, false, {passage.out, passage.in});
  }

  void forward() {
    for (const StepLoad::Operation& op : load_.operations) {
      work("forward", op.name, forward_seconds(op), false, values_for(op.values));
    }
  }

  void backward(bool hands_over) {
    sums_.assign(buckets_.size(), {});
    summed_ = -1;
    std::size_t bucket = 0;
    for (auto op = load_.operations.rbegin(); op != load_.operations.rend(); ++op) {
      for (const int again : op->again) {
        work("backward", operation(again).name, forward_seconds(operation(again)), false,
             values_for(operation(again).values));
      }
      work("backward", op->name, backward_seconds(*op), false, values_for(op->backward_values));
      if (!hands_over) continue;
      for (; bucket < buckets_.size() && buckets_[bucket].begin >= op->ready_offset; ++bucket) hand_over(bucket);
    }
    for (; hands_over && bucket < buckets_.size(); ++bucket) hand_over(bucket);
  }

  [[nodiscard]] const StepLoad::Operation& operation(int number) const {
    return load_.operations[static_cast<std::size_t>(number)];
  }

  /// Tasks that bring what an operation is about to read.
  std::vector<int> values_for(const ValueRanges& ranges) {
    if (ranges.empty()) return {};
    if (gathers_values_) return gathered(ranges);
    std::int64_t end = 0;
    for (const ElementRange& range : ranges) end = std::max(end, range.end);
    return values_below(end);
  }

  /// The buckets of the operation that reads next are fetched, and those of its successor begin to come.
  std::vector<int> gathered(const ValueRanges& ranges) {
    for (const int bucket : window_.next()) {
      const auto at = static_cast<std::size_t>(bucket);
      gathered_[at] = exchange_values(name_of(at), traffic_of_values(buckets_[at]));
    }
    std::vector<int> tasks;
    for (const int bucket : window_.buckets_of(ranges)) {
      const Passage& passage = gathered_[static_cast<std::size_t>(bucket)];
      tasks.insert(tasks.end(), {passage.out, passage.in});
    }
    return tasks;
  }

  /// A node sends what it owns to all others, and receives what they own. Where values are gathered it asks before.
  [[nodiscard]] Traffic traffic_of_values(const BucketLoad& bucket) const {
    const double mine = bucket.owned_published();
    const double answers = static_cast<double>(bucket.my_slices) * others();
    const auto theirs = static_cast<double>(bucket.slices - bucket.my_slices);
    return {mine * others(), bucket.foreign_published(), answers + (gathers_values_ ? theirs : 0.0),
            theirs + (gathers_values_ ? answers : 0.0)};
  }

  std::vector<int> values_below(std::int64_t end) {
    std::vector<int> tasks;
    for (; unseen_values_ >= 0 && buckets_[static_cast<std::size_t>(unseen_values_)].begin < end; --unseen_values_) {
      if (values_.empty()) continue;
      const Passage& passage = values_[static_cast<std::size_t>(unseen_values_)];
      tasks.insert(tasks.end(), {passage.out, passage.in});
    }
    return tasks;
  }

  /// A bucket is final: its slices leave for their owners, and those that this node owns come in.
  void hand_over(std::size_t b) {
    const BucketLoad& bucket = buckets_[b];
    if (who_.nodes > 1) {
      const double bytes = sum_work_.before_sending(bucket.foreign(), bucket.foreign_coded());
      if (bytes > 0.0) work(load_.coded ? "code sums" : "add on node", name_of(b), memory_seconds(bytes), true);
      const Traffic one{bucket.foreign_coded(), bucket.owned_coded() * others(),
                        static_cast<double>(bucket.slices - bucket.my_slices),
                        static_cast<double>(bucket.my_slices) * others()};
      sums_[b] = list_.exchange(kSums, name_of(b), one.times(load_.subtrees));
    }
    if (load_.free_gradients) add_up(b);
  }

  /// What has been asked for comes when the question has arrived.
  Passage exchange_values(const std::string& name, const Traffic& traffic) {
    if (!gathers_values_) return list_.exchange(kValues, name, traffic);
    return list_.exchange(kGathered, name, traffic, cluster_.latency);
  }

  /// The sum over all shards of the slices that this node owns. Slices are added up in order.
  void add_up(std::size_t b) {
    const BucketLoad& bucket = buckets_[b];
    const double bytes =
        sum_work_.in_the_end(static_cast<double>(bucket.owned), bucket.owned_coded(), others() * load_.subtrees);
    std::vector<int> after = {list_.last()};
    if (summed_ >= 0) after.push_back(summed_);
    if (sums_[b].in >= 0) after.push_back(sums_[b].in);
    summed_ = list_.add({.phase = "sum over shards",
                         .name = name_of(b),
                         .seconds = memory_seconds(bytes),
                         .after = std::move(after),
                         .memory = true});
  }

  void reduce() {
    for (std::size_t b = 0; b < buckets_.size() && !load_.free_gradients; ++b) add_up(b);
    std::vector<int> after = {list_.last(), summed_};
    for (const Passage& passage : sums_) {
      if (passage.out >= 0) after.push_back(passage.out);
    }
    if (who_.nodes == 1) return list_.set_last(summed_);
    // An all-reduce of 8 bytes per block: a reduce-scatter and an all-gather of ceil(log2 nodes) messages each.
    const double bytes = 8.0 * std::ceil(gradient_bytes() / kElementBytes / kBlockElements);
    const double messages = 2.0 * std::ceil(std::log2(others() + 1.0));
    const double moved = 2.0 * bytes * others() / (others() + 1.0);
    list_.set_last(list_.add({.phase = "norm",
                              .name = "squares of blocks",
                              .resource = Resource::kLinkOut,
                              .seconds = list_.link_seconds(moved, messages) + messages * cluster_.latency,
                              .after = std::move(after),
                              .bytes = moved}));
  }

  void update() {
    double owned = 0.0;
    for (const BucketLoad& bucket : buckets_) owned += static_cast<double>(bucket.owned);
    work("update", "values and optimizer state", memory_seconds(owned * load_.update_bytes), true);
    updates_.push_back(list_.last());
  }

  /// From the first values up: forward needs them in that order.
  void publish() {
    window_.new_values();
    if (who_.nodes == 1 || gathers_values_) return;
    values_.assign(buckets_.size(), {});
    for (std::size_t b = buckets_.size(); b-- > 0;) {
      values_[b] = exchange_values(name_of(b), traffic_of_values(buckets_[b]));
    }
  }

  [[nodiscard]] double gradient_bytes() const {
    double bytes = 0.0;
    for (const BucketLoad& bucket : buckets_) bytes += kElementBytes * bucket.elements();
    return bytes;
  }
  [[nodiscard]] static std::string name_of(std::size_t bucket) { return "bucket " + std::to_string(bucket); }

  const StepLoad& load_;
  const std::vector<BucketLoad>& buckets_;
  const Ownership& who_;
  const ClusterSection& cluster_;
  SumWork sum_work_;
  TaskList list_;
  bool gathers_values_;
  BucketWindow window_;
  std::vector<Passage> gathered_;  // by bucket: the latest
  std::vector<int> updates_;
  std::vector<Passage> sums_, values_;  // by bucket; values_ of the step before
  int summed_ = -1;                     // the latest sum over shards
  int unseen_values_ = -1;              // buckets from here down: forward has not asked for their values yet
};

}  // namespace

std::vector<ValueRanges> StepLoad::reads() const {
  std::vector<ValueRanges> reads;
  const auto add = [&](const ValueRanges& ranges) {
    if (!ranges.empty()) reads.push_back(ranges);
  };
  for (const Operation& op : operations) add(op.values);
  for (auto op = operations.rbegin(); op != operations.rend(); ++op) {
    for (const int again : op->again) add(operations[static_cast<std::size_t>(again)].values);
    add(op->backward_values);
  }
  return reads;
}

StepPrediction predict_step(const StepLoad& load, const std::vector<BucketLoad>& buckets, const Ownership& who,
                            const ClusterSection& cluster) {
  Script script(load, buckets, who, cluster);
  for (int step = 0; step < kSteps; ++step) script.add_step();
  const std::vector<int>& updates = script.updates();
  return predict_between(script.list(), *(updates.end() - 2), updates.back());
}

}  // namespace ballast
