#include "launcher/plan/drawing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "launcher/bench/figures.h"
#include "launcher/number_text.h"
#include "launcher/plan/forecast_text.h"
#include "launcher/plan/svg.h"

namespace ballast {
namespace {

constexpr double kWidth = 1000, kHeight = 560;
constexpr double kLeft = 90, kRight = 970;
constexpr double kTop = 60, kLaneHeight = 34, kLaneGap = 8;
constexpr double kCurveTop = 300, kCurveBottom = 500;
constexpr std::array<const char*, 4> kLanes = {"compute", "memory", "link out", "link in"};

struct Colour {
  const char* phase;
  const char* colour;
};
constexpr std::array<Colour, 22> kColours = {{{"forward", "#4c78a8"},
                                              {"backward", "#1f4e79"},
                                              {"forward and backward", "#335f8f"},
                                              {"add shards", "#9ecae9"},
                                              {"add on node", "#b279a2"},
                                              {"code sums", "#8c5a7d"},
                                              {"inner steps", "#4c78a8"},
                                              {"differences", "#9ecae9"},
                                              {"sum over groups", "#72b7b2"},
                                              {"take over", "#54a24b"},
                                              {"inner traffic", "#bab0ac"},
                                              {"send differences", "#f58518"},
                                              {"receive differences", "#ffbf79"},
                                              {"send outer values", "#d6a400"},
                                              {"receive outer values", "#f2d675"},
                                              {"sum over shards", "#72b7b2"},
                                              {"update", "#54a24b"},
                                              {"norm", "#e45756"},
                                              {"send sums", "#f58518"},
                                              {"receive sums", "#ffbf79"},
                                              {"send values", "#d6a400"},
                                              {"receive values", "#f2d675"}}};

const char* colour_of(const char* phase) {
  const auto* found =
      std::find_if(kColours.begin(), kColours.end(), [&](const Colour& c) { return std::strcmp(c.phase, phase) == 0; });
  return found == kColours.end() ? "#888888" : found->colour;
}

std::size_t lane_of(const Task& task) {
  if (task.resource == Resource::kLinkOut) return 2;
  if (task.resource == Resource::kLinkIn) return 3;
  return task.memory ? 1 : 0;
}

double lane_top(std::size_t lane) { return kTop + static_cast<double>(lane) * (kLaneHeight + kLaneGap); }

/// Of what is drawn.
double length_of(const StepPrediction& step) { return step.seconds * static_cast<double>(step.steps); }

/// A run of tasks of one phase that follow each other closely is one bar: thousands of slivers show less.
struct Bar {
  double begin = 0.0, end = 0.0;
  const char* phase = "";
  int tasks = 0;
};

std::array<std::vector<Bar>, 4> bars_of(const StepPrediction& step) {
  std::vector<std::size_t> order(step.tasks.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return step.times[a].begin < step.times[b].begin; });
  std::array<std::vector<Bar>, 4> lanes;
  const double sliver = length_of(step) / (kRight - kLeft) / 2.0;
  for (const std::size_t i : order) {
    std::vector<Bar>& lane = lanes[lane_of(step.tasks[i])];
    const TimedTask& timed = step.times[i];
    const char* phase = step.tasks[i].phase;
    const bool joins =
        !lane.empty() && std::strcmp(lane.back().phase, phase) == 0 && timed.begin - lane.back().end < sliver;
    if (!joins) lane.push_back({timed.begin, timed.end, phase, 0});
    lane.back().end = timed.end;
    ++lane.back().tasks;
  }
  return lanes;
}

void draw_step(const StepPrediction& step, Svg& svg) {
  const double length = length_of(step);
  const auto x_of = [&](double seconds) { return kLeft + (kRight - kLeft) * seconds / length; };
  const auto lanes = bars_of(step);
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    svg.rectangle(kLeft, lane_top(lane), kRight - kLeft, kLaneHeight, "#f4f4f4");
    svg.text(kLeft - 8, lane_top(lane) + kLaneHeight / 2 + 4, kLanes[lane], "end");
    for (const Bar& bar : lanes[lane]) {
      svg.rectangle(x_of(bar.begin), lane_top(lane), std::max(x_of(bar.end) - x_of(bar.begin), 0.3), kLaneHeight,
                    colour_of(bar.phase), std::string(bar.phase) + ": " + short_time(bar.end - bar.begin));
    }
  }
  const double bottom = lane_top(lanes.size()) + 6;
  for (int tick = 0; tick <= 5; ++tick) {
    svg.text(x_of(length * tick / 5.0), bottom + 6, short_time(length * tick / 5.0), "middle");
  }
}

void draw_legend(const StepPrediction& step, Svg& svg) {
  double x = kLeft;
  for (const Colour& entry : kColours) {
    const bool seen = std::any_of(step.tasks.begin(), step.tasks.end(),
                                  [&](const Task& task) { return std::strcmp(task.phase, entry.phase) == 0; });
    if (!seen) continue;
    svg.rectangle(x, 38, 11, 11, entry.colour);
    svg.text(x + 15, 48, entry.phase);
    x += 24 + 5.6 * static_cast<double>(std::strlen(entry.phase));
  }
}

void draw_scaling(const Forecast& forecast, Svg& svg) {
  const double last = std::log2(static_cast<double>(forecast.scaling.back().nodes));
  const auto x_of = [&](std::int64_t nodes) {
    return kLeft + (kRight - kLeft) * std::log2(static_cast<double>(nodes)) / last;
  };
  const auto y_of = [](double share) {
    return kCurveBottom - (kCurveBottom - kCurveTop) * std::min(share, 1.05) / 1.05;
  };
  for (int tenth = 0; tenth <= 10; tenth += 2) {
    svg.line(kLeft, y_of(tenth / 10.0), kRight, y_of(tenth / 10.0), "#dddddd");
    svg.text(kLeft - 8, y_of(tenth / 10.0) + 4, std::to_string(10 * tenth) + " %", "end");
  }
  std::vector<std::pair<double, double>> given, best;
  for (const Forecast::Scale& scale : forecast.scaling) {
    given.emplace_back(x_of(scale.nodes), y_of(scale.efficiency));
    best.emplace_back(x_of(scale.nodes), y_of(scale.best_efficiency));
    svg.text(x_of(scale.nodes), kCurveBottom + 16, count_text(scale.nodes), "middle");
  }
  svg.curve(given, "#1f4e79");
  svg.curve(best, "#f58518", true);
  svg.text(kLeft, kCurveTop - 14, "Scaling efficiency, with equal work for every worker", "start", true);
  svg.text((kLeft + kRight) / 2, kCurveBottom + 36, "nodes", "middle");
  svg.line(kRight - 330, kCurveTop - 18, kRight - 306, kCurveTop - 18, "#1f4e79");
  svg.text(kRight - 300, kCurveTop - 14, "bucket as set");
  svg.line(kRight - 200, kCurveTop - 18, kRight - 176, kCurveTop - 18, "#f58518");
  svg.text(kRight - 170, kCurveTop - 14, "best bucket for each number");
}

}  // namespace

std::string draw_forecast(const Forecast& forecast, const std::string& model) {
  const std::int64_t steps = forecast.step.steps;
  const std::string title = (steps == 1 ? "A step" : count_text(steps) + " steps") + " of " + model + " on " +
                            count_text(forecast.cluster.nodes) + " nodes of " + count_text(forecast.cluster.workers) +
                            " workers: " + short_time(length_of(forecast.step));
  Svg svg(kWidth, kHeight, title);
  svg.text(kLeft, 24, title, "start", true);
  draw_legend(forecast.step, svg);
  draw_step(forecast.step, svg);
  draw_scaling(forecast, svg);
  return svg.finish();
}

}  // namespace ballast
