// Defines: GradientRouter: which memory the gradients of values live in.
#pragma once

#include <vector>

#include "models/planner/plan.h"

namespace ballast {

/// Plays backward once without data. Values whose gradients are equal hold one storage together (an addition passes its
/// gradient on); whoever must change a storage that others hold gets a new one.
class GradientRouter {
 public:
  /// `plan` has the storages of values with their final lifetimes, and no offsets yet.
  GradientRouter(const Graph& graph, Plan& plan);

  /// Fills the routes of every operation and adds the storages they need.
  void route_all();

 private:
  /// Backward of one operation, seen from one of its inputs.
  struct Step {
    int time = 0;
    int x = -1;         ///< value
    int y = -1;         ///< value, -1 for the loss
    int dy = -1;        ///< storage, -1 for the loss
    bool last = false;  ///< nobody reads dy after this input
  };

  void route_node(int node);
  GradientRoute pass_on(const Step& step);
  GradientRoute compute(const Step& step, const Traits& traits);
  int first_target(const Step& step, const Traits& traits);
  void add_up(const Step& step, int contribution, GradientRoute& route);

  int new_storage(int value, int time);
  void touch(int storage, int time);
  void hold(int value, int storage);
  void release(int value);
  /// True when nobody but the step's x (and y, if this is the last use of dy) holds `storage`.
  [[nodiscard]] bool may_write(int storage, const Step& step) const;
  [[nodiscard]] bool may_overwrite_gradient(const Step& step) const;
  int& gradient_of(int value) { return gradient_[static_cast<std::size_t>(value)]; }

  const Graph& graph_;
  Plan& plan_;
  std::vector<int> gradient_;              ///< storage of each value's gradient so far, -1 for none
  std::vector<std::vector<int>> holders_;  ///< values, for each storage
};

}  // namespace ballast
