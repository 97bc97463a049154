#include "launcher/plan/forecast_text.h"

#include <cmath>

#include "launcher/bench/figures.h"
#include "launcher/number_text.h"
#include "launcher/table.h"

namespace ballast {
namespace {

std::string percent(double share) { return fixed_number(100.0 * share, 1) + " %"; }
std::string bytes(std::int64_t count) { return bytes_text(static_cast<double>(count)); }
std::string megabytes(double bytes_per_second) { return fixed_number(bytes_per_second / 1e6, 0) + " MB/s"; }

std::string mib_text(double mib) { return short_number(mib) + " MiB"; }

std::string cluster_text(const Forecast& forecast) {
  const ClusterSection& c = forecast.cluster;
  return "On " + count_text(c.nodes) + (c.nodes == 1 ? " node" : " nodes") + " of " + count_text(c.workers) +
         (c.workers == 1 ? " worker" : " workers") + ", simulated" +
         (forecast.rates_measured ? " with rates measured here" : "") + ":\n  a worker " +
         fixed_number(c.flops / 1e9, 0) + " GFLOP/s, a node " + fixed_number(c.memory_bandwidth / 1e9, 1) +
         " GB/s of memory; link " + megabytes(c.network_bandwidth) + " each way, " + short_time(c.latency) +
         " latency, " + short_time(c.message_seconds) + " a message" +
         (c.network_overhead > 0.0 ? ", " + short_time(c.network_overhead) + " of a core a byte" : "") +
         "; efficiency " + short_number(c.efficiency) + "\n\n";
}

std::string path_text(const StepPrediction& step) {
  constexpr std::size_t kMostStretches = 14;
  std::string text, line = "critical path: ";
  const auto& path = step.critical_path;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path.size() > kMostStretches && i == kMostStretches / 2) {
      i = path.size() - kMostStretches / 2;
      line += "> ... ";
    }
    const std::string part = (i > 0 ? "> " : "") + std::string(path[i].phase) + ' ' + short_time(path[i].seconds) + ' ';
    if (line.size() + part.size() > 110) {
      text += line + '\n';
      line = "  ";
    }
    line += part;
  }
  return text + line + "\n\n";
}

std::string step_text(const Forecast& forecast) {
  const StepPrediction& step = forecast.step;
  Table table("lrl");
  table.add({"step", short_time(step.seconds),
             count_text(std::llround(forecast.items_per_step / step.seconds)) + ' ' + forecast.item + "/s"});
  if (step.steps > 1) table.add({"  mean of", count_text(step.steps), "steps, with what brings the copies together"});
  table.add({"  a worker works", short_time(step.worker_seconds), percent(step.worker_seconds / step.seconds)});
  table.add({"  it waits", short_time(step.exposed_seconds()), percent(step.exposed_seconds() / step.seconds)});
  table.add({"  a link sends", short_time(step.link_out_seconds), percent(step.link_out_seconds / step.seconds)});
  table.add({"a link per step, out", bytes_text(step.bytes_out),
             "in " + count_text(std::llround(step.messages_out)) + " messages"});
  table.add({"  in", bytes_text(step.bytes_in), ""});
  table.add({"best comm.bucket_mib", short_number(forecast.best_bucket.mib),
             "step " + short_time(forecast.best_bucket.seconds) + ", now " + short_number(forecast.buckets[0].mib) +
                 (forecast.bucket_is_automatic ? " (auto)" : "")});
  return table.text() + path_text(step);
}

std::string levels_text(const Forecast& forecast) {
  Table table("l" + std::string(forecast.levels.size(), 'r'));
  std::vector<std::string> head = {"memory of a worker, by comm.sharding"};
  for (const auto& level : forecast.levels) head.push_back(level.sharding);
  table.add(head);
  for (const MemoryPurpose& purpose : memory_purposes()) {
    std::vector<std::string> cells = {std::string("  ") + purpose.text};
    bool worth = purpose.always;
    for (const auto& level : forecast.levels) {
      cells.push_back(bytes(level.memory.*purpose.bytes));
      worth = worth || level.memory.*purpose.bytes > 0;
    }
    if (worth) table.add(std::move(cells));
  }
  std::vector<std::string> node = {"a node"};
  for (const auto& level : forecast.levels) node.push_back(bytes(level.node));
  table.add(std::move(node));
  return table.text();
}

std::string fit_text(const Forecast& forecast) {
  const std::string memory = short_number(forecast.cluster.memory_gib) + " GiB";
  if (forecast.fits()) return "fits into a node's " + memory + "\n\n";
  std::string text = "DOES NOT FIT: a node has " + memory + " and needs " + bytes(forecast.node_memory) + ".\n";
  if (forecast.remedies.empty())
    return text + "Nothing that was tried fits; the model is too large for these nodes.\n\n";
  Table table("lrl");
  for (const auto& remedy : forecast.remedies) {
    table.add({"  " + remedy.change, bytes(remedy.node_memory), "step " + short_time(remedy.seconds)});
  }
  return text + "What would, fastest first:\n" + table.text() + '\n';
}

std::string scaling_text(const Forecast& forecast) {
  Table table("rrrrrr");
  table.add({"nodes", "step", "efficiency", "best bucket", "efficiency", "fixed batch"});
  for (const Forecast::Scale& scale : forecast.scaling) {
    table.add({count_text(scale.nodes), short_time(scale.seconds), percent(scale.efficiency),
               mib_text(scale.best_bucket.mib), percent(scale.best_efficiency),
               scale.fixed_batch_efficiency ? percent(*scale.fixed_batch_efficiency) : "-"});
  }
  return "Scaling, with as much work for every worker as above; fixed batch: the job's own batch shared by all\n" +
         table.text() + '\n';
}

std::string saving_text(const Forecast& forecast) {
  const Forecast::Saving& saving = forecast.saving;
  Table table("lrl");
  table.add(
      {"checkpoint", bytes_text(saving.bytes),
       "written in " + short_time(saving.write_seconds) + ", training waits " + short_time(saving.stall_seconds)});
  if (saving.mean_seconds_between_failures > 0.0) {
    table.add({"  a failure every", short_time(saving.mean_seconds_between_failures), "of all nodes"});
    table.add({"  best interval (Daly)", short_time(saving.daly_seconds),
               "Young: " + short_time(saving.young_seconds) + "; " + percent(saving.lost_share) + " of time is lost"});
  }
  if (forecast.budget) {
    const Forecast::Budget& budget = *forecast.budget;
    table.add({short_number(budget.items) + ' ' + forecast.item, seconds_text(budget.seconds),
               count_text(std::llround(budget.steps)) + " steps"});
    if (budget.kilowatt_hours > 0.0) table.add({"  energy", short_number(budget.kilowatt_hours) + " kWh", ""});
    if (budget.cost > 0.0) table.add({"  cost", short_number(budget.cost), ""});
  }
  return table.text();
}

}  // namespace

std::string short_time(double seconds) {
  if (seconds == 0.0) return "0 s";
  if (seconds >= 3600.0) return fixed_number(seconds / 3600.0, 2) + " h";
  if (seconds >= 100.0) return fixed_number(seconds / 60.0, 1) + " min";
  if (seconds >= 1.0) return fixed_number(seconds, 2) + " s";
  if (seconds >= 1e-3) return fixed_number(1e3 * seconds, 2) + " ms";
  return fixed_number(1e6 * seconds, 1) + " us";
}

std::string forecast_text(const Forecast& forecast) {
  return cluster_text(forecast) + step_text(forecast) + levels_text(forecast) + fit_text(forecast) +
         scaling_text(forecast) + saving_text(forecast);
}

}  // namespace ballast
