#include "launcher/plan/step_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "comm/link_probe.h"

namespace ballast {
namespace {

constexpr auto kPieceBytes = static_cast<double>(LinkProbe::kPieceBytes);
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
  [[nodiscard]] const std::vector<Task>& tasks() const { return tasks_; }
  [[nodiscard]] const std::vector<int>& updates() const { return updates_; }

 private:
  struct Passage {
    int out = -1, in = -1;
  };
  struct Traffic {
    double out = 0.0, in = 0.0;  // bytes
    double messages_out = 0.0, messages_in = 0.0;
    void add(const Traffic& more) {
      out += more.out;
      in += more.in;
      messages_out += more.messages_out;
      messages_in += more.messages_in;
    }
  };

  int add(Task task) {
    tasks_.push_back(std::move(task));
    return static_cast<int>(tasks_.size()) - 1;
  }

  /// Behind whatever the worker does now.
  void work(const char* phase, std::string name, double seconds, bool memory, std::vector<int> also = {}) {
    if (last_ >= 0) also.push_back(last_);
    last_ =
        add({.phase = phase, .name = std::move(name), .seconds = seconds, .after = std::move(also), .memory = memory});
  }

  [[nodiscard]] double pass_seconds(double flops, double bytes) const {
    return (flops / cluster_.flops + memory_seconds(bytes * workers())) / cluster_.efficiency;
  }
  /// `bytes` of all workers of the node, which are at it together.
  [[nodiscard]] double memory_seconds(double bytes) const { return bytes / cluster_.memory_bandwidth; }
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
    if (gathers_values_) {
      passage = exchange(
          "values", "micro-batches between",
          {count * traffic.out, count * traffic.in, count * traffic.messages_out, count * traffic.messages_in});
    }
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
      gathered_[at] = exchange("values", name_of(at), traffic_of_values(buckets_[at]));
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
      const double foreign = bucket.bytes() - bucket.owned_bytes();
      const double addends = workers() * load_.parts;
      if (addends > load_.subtrees) {
        work("add on node", name_of(b), memory_seconds(foreign * (addends + load_.subtrees)), true);
      }
      sums_[b] = exchange("sums", name_of(b),
                          {foreign * load_.subtrees, bucket.owned_bytes() * others() * load_.subtrees,
                           static_cast<double>(bucket.slices - bucket.my_slices) * load_.subtrees,
                           static_cast<double>(bucket.my_slices) * others() * load_.subtrees});
    }
    if (load_.free_gradients) add_up(b);
  }

  /// Both directions of the link, as soon as the worker's last task has ended; for what has been asked for, when the
  /// question has arrived.
  Passage exchange(const char* what, const std::string& name, const Traffic& traffic) {
    const bool sums = std::strcmp(what, "sums") == 0;
    const double asked = !sums && gathers_values_ ? cluster_.latency : 0.0;
    const auto one = [&](Resource link, double bytes, double messages) {
      return add({.phase = link == Resource::kLinkOut ? (sums ? "send sums" : "send values")
                                                      : (sums ? "receive sums" : "receive values"),
                  .name = name,
                  .resource = link,
                  .seconds = link_seconds(bytes, messages),
                  .after = last_ >= 0 ? std::vector<int>{last_} : std::vector<int>(),
                  .delay = asked + (link == Resource::kLinkIn ? cluster_.latency : 0.0),
                  .bytes = bytes,
                  .urgent = !sums && gathers_values_});
    };
    messages_ += traffic.messages_out;
    return {one(Resource::kLinkOut, traffic.out, traffic.messages_out),
            one(Resource::kLinkIn, traffic.in, traffic.messages_in)};
  }

  [[nodiscard]] double link_seconds(double bytes, double messages) const {
    const double pieces = messages > 0.0 ? messages * std::max(1.0, std::ceil(bytes / messages / kPieceBytes)) : 0.0;
    return bytes / cluster_.network_bandwidth + pieces * cluster_.message_seconds;
  }

  /// The sum over all shards of the slices that this node owns. Slices are added up in order.
  void add_up(std::size_t b) {
    const BucketLoad& bucket = buckets_[b];
    const double addends = workers() * load_.parts + others() * load_.subtrees;
    const double bytes = bucket.owned_bytes() * (addends + (addends > 1.0 ? 1.0 : 0.0));
    std::vector<int> after = {last_};
    if (summed_ >= 0) after.push_back(summed_);
    if (sums_[b].in >= 0) after.push_back(sums_[b].in);
    summed_ = add({.phase = "sum over shards",
                   .name = name_of(b),
                   .seconds = memory_seconds(bytes),
                   .after = std::move(after),
                   .memory = true});
  }

  void reduce() {
    for (std::size_t b = 0; b < buckets_.size() && !load_.free_gradients; ++b) add_up(b);
    std::vector<int> after = {last_, summed_};
    for (const Passage& passage : sums_) {
      if (passage.out >= 0) after.push_back(passage.out);
    }
    if (who_.nodes == 1) {
      last_ = summed_;
      return;
    }
    // An all-reduce of 8 bytes per block: a reduce-scatter and an all-gather of ceil(log2 nodes) messages each.
    const double bytes = 8.0 * std::ceil(gradient_bytes() / kElementBytes / kBlockElements);
    const double messages = 2.0 * std::ceil(std::log2(others() + 1.0));
    const double moved = 2.0 * bytes * others() / (others() + 1.0);
    last_ = add({.phase = "norm",
                 .name = "squares of blocks",
                 .resource = Resource::kLinkOut,
                 .seconds = link_seconds(moved, messages) + messages * cluster_.latency,
                 .after = std::move(after),
                 .bytes = moved});
  }

  void update() {
    double owned = 0.0;
    for (const BucketLoad& bucket : buckets_) owned += static_cast<double>(bucket.owned);
    work("update", "values and optimizer state", memory_seconds(owned * load_.update_bytes), true);
    updates_.push_back(last_);
  }

  /// From the first values up: forward needs them in that order.
  void publish() {
    window_.new_values();
    if (who_.nodes == 1 || gathers_values_) return;
    values_.assign(buckets_.size(), {});
    for (std::size_t b = buckets_.size(); b-- > 0;) {
      values_[b] = exchange("values", name_of(b), traffic_of_values(buckets_[b]));
    }
  }

  [[nodiscard]] double gradient_bytes() const {
    double bytes = 0.0;
    for (const BucketLoad& bucket : buckets_) bytes += bucket.bytes();
    return bytes;
  }
  [[nodiscard]] static std::string name_of(std::size_t bucket) { return "bucket " + std::to_string(bucket); }

 public:
  [[nodiscard]] double messages_of_a_step() const { return messages_ / static_cast<double>(updates_.size()); }

 private:
  const StepLoad& load_;
  const std::vector<BucketLoad>& buckets_;
  const Ownership& who_;
  const ClusterSection& cluster_;
  bool gathers_values_;
  BucketWindow window_;
  std::vector<Passage> gathered_;  // by bucket: the latest
  std::vector<Task> tasks_;
  std::vector<int> updates_;
  std::vector<Passage> sums_, values_;  // by bucket; values_ of the step before
  double messages_ = 0.0;
  int last_ = -1;           // the task that the worker does next begins behind it
  int summed_ = -1;         // the latest sum over shards
  int unseen_values_ = -1;  // buckets from here down: forward has not asked for their values yet
};

/// Neighbouring tasks of one phase, as far as they lie behind `begin`. Time between a task's cause and its begin is
/// a message's way.
std::vector<StepPrediction::Stretch> stretches(const Script& script, const Timeline& timeline, double begin) {
  std::vector<StepPrediction::Stretch> path;
  const auto add = [&](const char* phase, double seconds) {
    if (seconds <= 0.0) return;
    if (path.empty() || std::strcmp(path.back().phase, phase) != 0) path.push_back({phase, 0.0});
    path.back().seconds += seconds;
  };
  double at = begin;
  for (const int index : timeline.critical_path(script.updates().back())) {
    const TimedTask& timed = timeline.tasks[static_cast<std::size_t>(index)];
    if (timed.end <= begin) continue;
    add("latency", std::max(timed.begin, begin) - at);
    add(script.tasks()[static_cast<std::size_t>(index)].phase, timed.end - std::max(timed.begin, begin));
    at = timed.end;
  }
  return path;
}

/// What happens in [begin, end), with times from `begin`.
void cut_out(const Script& script, const Timeline& timeline, double begin, double end, StepPrediction& step) {
  for (std::size_t i = 0; i < timeline.tasks.size(); ++i) {
    const TimedTask& timed = timeline.tasks[i];
    const double from = std::max(timed.begin, begin), to = std::min(timed.end, end);
    if (to <= from) continue;
    const Task& task = script.tasks()[i];
    if (task.resource == Resource::kWorker) step.worker_seconds += to - from;
    if (task.resource == Resource::kLinkOut) step.link_out_seconds += to - from;
    step.tasks.push_back(task);
    step.times.push_back({from - begin, to - begin, timed.cause});
  }
}

/// Of the tasks between one update and the next, as they were written down.
void count_bytes(const Script& script, StepPrediction& step) {
  const int first = *(script.updates().end() - 2), last = script.updates().back();
  for (int i = first + 1; i <= last; ++i) {
    const Task& task = script.tasks()[static_cast<std::size_t>(i)];
    if (task.resource == Resource::kLinkOut) step.bytes_out += task.bytes;
    if (task.resource == Resource::kLinkIn) step.bytes_in += task.bytes;
  }
  step.messages_out = script.messages_of_a_step();
}

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
  const Timeline timeline = simulate(script.tasks());
  const auto end_of = [&](int task) { return timeline.tasks[static_cast<std::size_t>(task)].end; };
  const double begin = end_of(*(script.updates().end() - 2)), end = end_of(script.updates().back());
  StepPrediction step{.seconds = end - begin};
  step.critical_path = stretches(script, timeline, begin);
  cut_out(script, timeline, begin, end, step);
  count_bytes(script, step);
  return step;
}

}  // namespace ballast
