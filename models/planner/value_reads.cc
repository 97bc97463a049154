#include "models/planner/value_reads.h"

#include <algorithm>
#include <utility>

namespace ballast {

std::vector<ElementRange> ValueReads::forward(const Graph& graph, std::size_t node) {
  std::vector<ElementRange> values;
  for (const int number : graph.nodes()[node].parameters) {
    const Parameter& parameter = graph.parameters()[number];
    values.push_back({parameter.offset, parameter.offset + parameter.size});
  }
  return values;
}

std::vector<ElementRange> ValueReads::backward(const Graph& graph, std::size_t node) {
  return graph.nodes()[node].traits.backward_without_values ? std::vector<ElementRange>() : forward(graph, node);
}

ValueReads::ValueReads(const Graph& graph, const Plan& plan) {
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (graph.nodes()[i].is_loss()) without_loss_ = reads_.size();
    add(i, false, forward(graph, i));
  }
  forward_reads_ = reads_.size();
  if (!graph.loss().traits.loss_in_backward) without_loss_ = forward_reads_;
  for (std::size_t i = graph.nodes().size(); i-- > 0;) {
    for (const int again : plan.nodes[i].again) {
      add(static_cast<std::size_t>(again), false, forward(graph, static_cast<std::size_t>(again)));
    }
    if (plan.nodes[i].has_backward) add(i, true, backward(graph, i));
  }
  pass_.reserve(reads_.size());
}

void ValueReads::add(std::size_t node, bool backward, std::vector<ElementRange> values) {
  if (!values.empty()) reads_.push_back({node, backward, std::move(values)});
}

void ValueReads::begin(bool forward, bool backward) {
  pass_.clear();
  at_ = 0;
  const std::size_t forward_end = backward ? without_loss_ : forward_reads_;
  for (std::size_t i = 0; forward && i < forward_end; ++i) pass_.push_back(i);
  for (std::size_t i = forward_reads_; backward && i < reads_.size(); ++i) pass_.push_back(i);
}

void ValueReads::before(std::size_t node, bool backward, const UseValues& use) {
  if (!use || at_ == pass_.size()) return;
  const Read& read = reads_[pass_[at_]];
  if (read.node != node || read.backward != backward) return;  // it reads none
  ++at_;
  soon_.clear();
  for (std::size_t i = at_; i < std::min(at_ + kValuesAhead, pass_.size()); ++i) {
    const std::vector<ElementRange>& values = reads_[pass_[i]].values;
    soon_.insert(soon_.end(), values.begin(), values.end());
  }
  use(read.values, soon_);
}

void ValueReads::end(const UseValues& use) {
  if (use) use({}, {});
}

}  // namespace ballast
