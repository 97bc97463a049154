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
    place_values();
    place_saved();
    GradientRouter(graph_, plan_).route_all();
    find_ready_offsets();
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
  [[nodiscard]] int backward_time(int i) const { return 2 * operations_ - 1 - i; }
  [[nodiscard]] bool runs_backward(int i) const { return node(i).is_loss() || value(node(i).output).needs_gradient; }

  int new_storage(std::int64_t bytes, int first, int last) {
    plan_.storages.push_back({.bytes = bytes, .first = first, .last = last, .offset = 0});
    return count(plan_.storages) - 1;
  }

  [[nodiscard]] std::int64_t bytes_of(const ValueInfo& info) const {
    return Shape{plan_.max_samples, info.shape.elements(), size_of(info.dtype)}.elements();
  }

  [[nodiscard]] bool keeps(int reader, int value) const {
    const std::vector<int>& inputs = node(reader).inputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == value && node(reader).traits.keeps_input(i)) return runs_backward(reader);
    }
    return false;
  }

  /// The last time somebody reads the value.
  [[nodiscard]] int last_read(int value) const {
    const ValueInfo& info = this->value(value);
    int last = std::max(info.producer, 0);
    for (const int reader : info.readers) {
      last = std::max(last, keeps(reader, value) ? backward_time(reader) : reader);
    }
    if (info.producer >= 0 && node(info.producer).traits.keeps_output && runs_backward(info.producer)) {
      last = std::max(last, backward_time(info.producer));
    }
    return last;
  }

  void place_values() {
    for (int v = 0; v < count(graph_.values()); ++v) {
      const ValueInfo& info = value(v);
      plan_.value_elements.push_back(info.shape.elements());
      int storage = info.producer >= 0 ? storage_to_take_over(info) : -1;
      if (storage < 0) storage = new_storage(bytes_of(info), std::max(info.producer, 0), 0);
      auto& last = plan_.storages[static_cast<std::size_t>(storage)].last;
      last = std::max(last, last_read(v));
      // Inputs are uploaded before the first operation runs.
      if (info.producer < 0) plan_.storages[static_cast<std::size_t>(storage)].first = 0;
      plan_.value_storage.push_back(storage);
    }
  }

  /// The storage of an input that the producer may write its output into, because nobody reads that input any more; or
  /// -1.
  [[nodiscard]] int storage_to_take_over(const ValueInfo& info) const {
    if (!node(info.producer).traits.in_place) return -1;
    for (const int input : node(info.producer).inputs) {
      const int storage = plan_.value_storage[static_cast<std::size_t>(input)];
      const bool free = plan_.storages[static_cast<std::size_t>(storage)].last <= info.producer;
      if (free && value(input).dtype == info.dtype && value(input).shape.elements() == info.shape.elements())
        return storage;
    }
    return -1;
  }

  void place_saved() {
    for (int i = 0; i < operations_; ++i) {
      for (const SavedTensor& saved : node(i).traits.saved) {
        const std::int64_t samples = saved.per_sample ? plan_.max_samples : 1;
        const std::int64_t bytes = Shape{samples, saved.elements, size_of(graph_.wide_type())}.elements();
        node_plan(i).saved.push_back(new_storage(bytes, i, node_plan(i).has_backward ? backward_time(i) : i));
      }
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

  const Graph& graph_;
  int operations_;
  Plan plan_;
};

}  // namespace

Plan make_plan(const Graph& graph, std::int64_t max_samples) {
  if (max_samples < 1) throw Error("a model needs room for at least one sample, not " + std::to_string(max_samples));
  graph.check_complete();
  return Planner(graph, max_samples).plan();
}

}  // namespace ballast
