#include "models/planner/plan.h"

#include <algorithm>
#include <limits>

#include "models/planner/gradients.h"

namespace ballast {
namespace {

class Planner {
 public:
  Planner(const Graph& graph, std::int64_t max_samples) : graph_(graph), operations_(count(graph.nodes())) {
    plan_.max_samples = max_samples;
    plan_.nodes.resize(graph.nodes().size());
  }

  Plan plan() {
    for (int i = 0; i < operations_; ++i) node_plan(i).has_backward = runs_backward(i);
    find_second_runs();
    set_times();
    place_values();
    place_values_again();
    place_saved();
    place_scratch();
    GradientRouter(graph_, plan_).route_all();
    find_ready_offsets();
    find_first_gradients();
    plan_.arena_bytes = place_storages(plan_.storages);
    return std::move(plan_);
  }

 private:
  template <typename T>
  static int count(const std::vector<T>& items) {
    return static_cast<int>(items.size());
  }
  [[nodiscard]] const Node& node(int i) const { return graph_.nodes()[static_cast<std::size_t>(i)]; }
  [[nodiscard]] const ValueInfo& value(int v) const { return graph_.values()[static_cast<std::size_t>(v)]; }
  NodePlan& node_plan(int i) { return plan_.nodes[static_cast<std::size_t>(i)]; }
  [[nodiscard]] int backward_time(int i) const { return plan_.nodes[static_cast<std::size_t>(i)].backward_time; }
  [[nodiscard]] bool runs_backward(int i) const { return node(i).is_loss() || value(node(i).output).needs_gradient; }

  int new_storage(std::int64_t bytes, int first, int last) {
    plan_.storages.push_back({.bytes = bytes, .first = first, .last = last, .offset = 0});
    return count(plan_.storages) - 1;
  }

  [[nodiscard]] std::int64_t bytes_of(const ValueInfo& info) const {
    return Shape{plan_.max_samples, info.shape.elements(), size_of(info.dtype)}.elements();
  }

  /// Somebody outside of the segment reads it, so it stays; or it belongs to no segment.
  [[nodiscard]] bool is_kept(const ValueInfo& info) const {
    const int segment = info.producer < 0 ? -1 : node(info.producer).segment;
    const auto outside = [&](int reader) { return node(reader).segment != segment; };
    return segment < 0 || std::any_of(info.readers.begin(), info.readers.end(), outside);
  }

  [[nodiscard]] bool read_in_backward(int value, int reader) const {
    const std::vector<int>& inputs = node(reader).inputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == value && node(reader).traits.keeps_input(i)) return runs_backward(reader);
    }
    return false;
  }
  [[nodiscard]] bool read_by_own_backward(const ValueInfo& info) const {
    return info.producer >= 0 && node(info.producer).traits.keeps_output && runs_backward(info.producer);
  }

  /// Of a value that is not kept: whether backward, or an operation that runs again, reads it.
  [[nodiscard]] bool is_needed_again(int value) const {
    const ValueInfo& info = this->value(value);
    return read_by_own_backward(info) || std::any_of(info.readers.begin(), info.readers.end(), [&](int reader) {
             return read_in_backward(value, reader) || runs_again(reader);
           });
  }

  /// Readers come after what they read, so their answers are there.
  void find_second_runs() {
    again_.assign(static_cast<std::size_t>(operations_), kNever);
    for (int i = operations_ - 1; i >= 0; --i) {
      if (node(i).segment < 0 || node(i).is_loss()) continue;
      const bool for_values = !is_kept(value(node(i).output)) && is_needed_again(node(i).output);
      const bool for_saved = runs_backward(i) && !node(i).traits.saved.empty();
      if (for_values || for_saved) again_[static_cast<std::size_t>(i)] = 0;
    }
  }

  [[nodiscard]] int again_time(int i) const { return again_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] bool runs_again(int i) const { return again_time(i) != kNever; }

  void set_times() {
    int time = operations_;
    for (int i = operations_ - 1; i >= 0; --i) {
      const int segment = node(i).segment;
      if (segment >= 0 && (i + 1 == operations_ || node(i + 1).segment != segment)) {
        int first = i;
        while (first > 0 && node(first - 1).segment == segment) --first;
        for (int j = first; j <= i; ++j) {
          if (!runs_again(j)) continue;
          again_[static_cast<std::size_t>(j)] = time++;
          node_plan(i).again.push_back(j);
        }
      }
      node_plan(i).backward_time = time++;
    }
  }

  /// The last time somebody reads the value in its first life, which for a kept value is the only one.
  [[nodiscard]] int last_read(int value) const {
    const ValueInfo& info = this->value(value);
    int last = std::max(info.producer, 0);
    for (const int reader : info.readers) last = std::max(last, reader);
    return is_kept(info) ? std::max(last, last_read_again(value)) : last;
  }

  /// ... in backward or by operations that run again; where nobody does, 0.
  [[nodiscard]] int last_read_again(int value) const {
    const ValueInfo& info = this->value(value);
    // An operation that runs again writes its output again.
    int last = info.producer >= 0 && runs_again(info.producer) ? again_time(info.producer) : 0;
    for (const int reader : info.readers) {
      if (runs_again(reader)) last = std::max(last, again_time(reader));
      if (read_in_backward(value, reader)) last = std::max(last, backward_time(reader));
    }
    return read_by_own_backward(info) ? std::max(last, backward_time(info.producer)) : last;
  }

  void extend(int storage, int last) {
    auto& now = plan_.storages[static_cast<std::size_t>(storage)].last;
    now = std::max(now, last);
  }

  void place_values() {
    for (int v = 0; v < count(graph_.values()); ++v) {
      const ValueInfo& info = value(v);
      plan_.value_elements.push_back(info.shape.elements());
      // Inputs are uploaded before the first operation runs.
      const int first = std::max(info.producer, 0);
      int storage = info.producer >= 0 ? storage_to_take_over(info, first, plan_.value_storage) : -1;
      if (storage < 0) storage = new_storage(bytes_of(info), first, first);
      extend(storage, last_read(v));
      plan_.value_storage.push_back(storage);
    }
  }

  /// Second lives, in the order in which the operations run again. Nobody asks where a value is that does not live
  /// again.
  void place_values_again() {
    plan_.value_storage_again = plan_.value_storage;
    for (int i = operations_ - 1; i >= 0; --i) {
      for (const int again : node_plan(i).again) {
        const ValueInfo& info = value(node(again).output);
        if (is_kept(info)) continue;
        const int first = again_time(again);
        int storage = storage_to_take_over(info, first, plan_.value_storage_again);
        if (storage < 0) storage = new_storage(bytes_of(info), first, first);
        extend(storage, last_read_again(node(again).output));
        plan_.value_storage_again[static_cast<std::size_t>(node(again).output)] = storage;
      }
    }
  }

  /// The storage of an input that the producer, running at `time`, may write its output into, because nobody reads that
  /// input any more; or -1.
  [[nodiscard]] int storage_to_take_over(const ValueInfo& info, int time, const std::vector<int>& storages) const {
    if (!node(info.producer).traits.in_place) return -1;
    for (const int input : node(info.producer).inputs) {
      const int storage = storages[static_cast<std::size_t>(input)];
      const bool free = plan_.storages[static_cast<std::size_t>(storage)].last <= time;
      if (free && value(input).dtype == info.dtype && value(input).shape.elements() == info.shape.elements())
        return storage;
    }
    return -1;
  }

  void place_saved() {
    for (int i = 0; i < operations_; ++i) {
      for (const SavedTensor& saved : node(i).traits.saved) {
        const std::int64_t samples = saved.per_sample ? plan_.max_samples : 1;
        const std::int64_t bytes = Shape{samples, saved.elements, size_of(graph_.type_of(saved))}.elements();
        const int last = node_plan(i).has_backward ? backward_time(i) : i;
        const bool again = runs_again(i);
        node_plan(i).saved.push_back(new_storage(bytes, i, again ? i : last));
        node_plan(i).saved_again.push_back(again ? new_storage(bytes, again_time(i), last) : node_plan(i).saved.back());
      }
    }
  }

  /// Only loss operations have scratch so far, and those never run again.
  void place_scratch() {
    for (int i = 0; i < operations_; ++i) {
      const std::int64_t elements = node(i).operation->scratch_elements(plan_.max_samples);
      if (elements == 0) continue;
      const std::int64_t bytes = Shape{elements, size_of(graph_.compute_type())}.elements();
      node_plan(i).scratch = new_storage(bytes, i, i);
      node_plan(i).scratch_backward = new_storage(bytes, backward_time(i), backward_time(i));
    }
  }

  /// The gradient of a parameter is final when the earliest operation that uses it has run backward.
  void find_ready_offsets() {
    const ParameterTable& table = graph_.parameters();
    std::vector<int> earliest(static_cast<std::size_t>(table.count()), std::numeric_limits<int>::max());
    for (int i = 0; i < operations_; ++i) {
      for (const int p : node(i).parameters) {
        auto& first = earliest[static_cast<std::size_t>(p)];
        first = std::min(first, i);
      }
    }
    int final_from = table.count();  // parameters from here on are final
    for (int i = operations_ - 1; i >= 0; --i) {
      while (final_from > 0 && earliest[static_cast<std::size_t>(final_from) - 1] >= i) --final_from;
      const bool all = final_from == 0;
      node_plan(i).ready_offset = all ? 0 : final_from == table.count() ? table.flat_size() : table[final_from].offset;
    }
  }

  void find_first_gradients() {
    std::vector<bool> begun(static_cast<std::size_t>(graph_.parameters().count()), false);
    for (int i = operations_ - 1; i >= 0; --i) {
      if (!node_plan(i).has_backward) continue;
      for (std::size_t p = 0; p < node(i).parameters.size(); ++p) {
        const auto parameter = static_cast<std::size_t>(node(i).parameters[p]);
        node_plan(i).first_gradient[p] = !begun[parameter];
        begun[parameter] = true;
      }
    }
    for (int p = 0; p < graph_.parameters().count(); ++p) {
      if (!begun[static_cast<std::size_t>(p)]) plan_.without_gradient.push_back(p);
    }
  }

  static constexpr int kNever = -1;

  const Graph& graph_;
  int operations_;
  std::vector<int> again_;  // when each operation runs forward again, or kNever
  Plan plan_;
};

}  // namespace

Plan make_plan(const Graph& graph, std::int64_t max_samples) {
  if (max_samples < 1) throw Error("a model needs room for at least one sample, not " + std::to_string(max_samples));
  graph.check_complete();
  return Planner(graph, max_samples).plan();
}

}  // namespace ballast
