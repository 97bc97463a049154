#include "models/planner/gradients.h"

#include <algorithm>

namespace ballast {

GradientRouter::GradientRouter(const Graph& graph, Plan& plan)
    : graph_(graph), plan_(plan), gradient_(graph.values().size(), -1), holders_(plan.storages.size()) {}

void GradientRouter::route_all() {
  for (int node = static_cast<int>(graph_.nodes().size()) - 1; node >= 0; --node) {
    if (plan_.nodes[static_cast<std::size_t>(node)].has_backward) route_node(node);
  }
}

void GradientRouter::route_node(int index) {
  const Node& node = graph_.nodes()[static_cast<std::size_t>(index)];
  NodePlan& plan = plan_.nodes[static_cast<std::size_t>(index)];
  Step step{.time = plan.backward_time, .y = node.output};
  if (!node.is_loss()) {
    step.dy = plan.output_gradient = gradient_of(node.output);
    require(step.dy >= 0, "planner: an operation runs backward before its gradient is there");
    touch(step.dy, step.time);
  }
  plan.calls_backward = !node.traits.passes_gradient;
  const auto wants = [&](int value) { return graph_.values()[static_cast<std::size_t>(value)].needs_gradient; };
  const auto last_wanted = std::find_if(node.inputs.rbegin(), node.inputs.rend(), wants);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    step.x = node.inputs[i];
    step.last = static_cast<std::ptrdiff_t>(i) == node.inputs.rend() - last_wanted - 1;
    if (wants(step.x)) {
      plan.routes[i] = node.traits.passes_gradient ? pass_on(step) : compute(step, node.traits);
    } else if (i == 0 && node.traits.always_writes_gradient) {
      plan.routes[i].target = new_storage(step.x, step.time);
    }
  }
  if (!node.is_loss()) release(node.output);
}

GradientRoute GradientRouter::pass_on(const Step& step) {
  GradientRoute route;
  if (gradient_of(step.x) < 0) {
    hold(step.x, step.dy);
  } else {
    add_up(step, step.dy, route);
  }
  return route;
}

GradientRoute GradientRouter::compute(const Step& step, const Traits& traits) {
  GradientRoute route;
  const int so_far = gradient_of(step.x);
  if (so_far < 0) {
    route.target = first_target(step, traits);
    hold(step.x, route.target);
  } else if (traits.accumulates && so_far != step.dy && may_write(so_far, step)) {
    route.target = so_far;
    route.accumulate = true;
  } else {
    const bool in_place = traits.gradient_in_place && may_overwrite_gradient(step);
    route.target = in_place ? step.dy : new_storage(step.x, step.time);
    add_up(step, route.target, route);
  }
  touch(route.target, step.time);
  return route;
}

int GradientRouter::first_target(const Step& step, const Traits& traits) {
  if (traits.gradient_in_place && may_overwrite_gradient(step)) return step.dy;
  const int own = plan_.value_storage_again[static_cast<std::size_t>(step.x)];
  if (traits.gradient_overwrites_input && plan_.storages[static_cast<std::size_t>(own)].last <= step.time) return own;
  return new_storage(step.x, step.time);
}

/// The gradient of x grows by `contribution`; the sum goes where nobody else is looking.
void GradientRouter::add_up(const Step& step, int contribution, GradientRoute& route) {
  const int so_far = gradient_of(step.x);
  route.addends = {so_far, contribution};
  if (may_write(so_far, step)) {
    route.sum = so_far;
  } else if (may_write(contribution, step)) {
    route.sum = contribution;
  } else {
    route.sum = new_storage(step.x, step.time);
  }
  touch(so_far, step.time);
  touch(contribution, step.time);
  release(step.x);
  hold(step.x, route.sum);
}

int GradientRouter::new_storage(int value, int time) {
  const int own = plan_.value_storage[static_cast<std::size_t>(value)];
  plan_.storages.push_back(
      {.bytes = plan_.storages[static_cast<std::size_t>(own)].bytes, .first = time, .last = time, .offset = 0});
  holders_.emplace_back();
  return static_cast<int>(plan_.storages.size()) - 1;
}

void GradientRouter::touch(int storage, int time) {
  Storage& s = plan_.storages[static_cast<std::size_t>(storage)];
  s.last = std::max(s.last, time);
}

void GradientRouter::hold(int value, int storage) {
  gradient_of(value) = storage;
  holders_[static_cast<std::size_t>(storage)].push_back(value);
}

void GradientRouter::release(int value) {
  auto& holders = holders_[static_cast<std::size_t>(gradient_of(value))];
  holders.erase(std::find(holders.begin(), holders.end(), value));
}

bool GradientRouter::may_write(int storage, const Step& step) const {
  const auto& holders = holders_[static_cast<std::size_t>(storage)];
  return std::all_of(holders.begin(), holders.end(),
                     [&](int value) { return value == step.x || (step.last && value == step.y); });
}

bool GradientRouter::may_overwrite_gradient(const Step& step) const {
  const auto& holders = holders_[static_cast<std::size_t>(step.dy)];
  return step.last && holders.size() == 1 && holders.front() == step.y;
}

}  // namespace ballast
