// Implements bench_step_of_job: where the time of a job's steps goes, against the roof of this machine.
#include <algorithm>
#include <cstdio>

#include "launcher/agreement.h"
#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/config.h"
#include "launcher/number_text.h"
#include "launcher/table.h"
#include "launcher/workers.h"
#include "runtime/step_bench.h"

namespace ballast {
namespace {

using Json = nlohmann::ordered_json;

std::string milliseconds(double seconds) { return fixed_number(1e3 * seconds, 2); }
std::string percent(double share) { return fixed_number(100.0 * share, 1) + " %"; }

/// "blocks.3.mlp.fc" -> "blocks.*.mlp.fc": the layers of a model are alike.
std::string without_numbers(const std::string& name) {
  std::string text;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool number =
        !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    text += (begin > 0 ? "." : "") + (number ? std::string("*") : part);
    begin = end + 1;
  }
  return text;
}

struct Group {
  OperationCost sum;
  int count = 0;
};

/// Operations of one name and kind in all layers, longest first.
std::vector<Group> grouped(const std::vector<OperationCost>& operations) {
  std::vector<Group> groups;
  for (const OperationCost& cost : operations) {
    const std::string name = without_numbers(cost.name);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& g) { return g.sum.name == name && g.sum.kind == cost.kind; });
    if (group == groups.end()) group = groups.insert(group, {{.name = name, .kind = cost.kind}, 0});
    group->sum.flops += cost.flops;
    group->sum.bytes += cost.bytes;
    group->sum.forward_seconds += cost.forward_seconds;
    group->sum.backward_seconds += cost.backward_seconds;
    ++group->count;
  }
  const auto seconds = [](const Group& g) { return g.sum.forward_seconds + g.sum.backward_seconds; };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const Group& a, const Group& b) { return seconds(a) > seconds(b); });
  return groups;
}

std::string operation_table(const StepBenchReport& report) {
  Table table("lrrrrr");
  table.add({"operation", "number", "forward ms", "backward ms", "GFLOP/s", "GB/s"});
  for (const Group& group : grouped(report.operations)) {
    const double seconds = std::max(group.sum.forward_seconds + group.sum.backward_seconds, 1e-12);
    const auto rate = [&](double work) { return work > 0.0 ? fixed_number(1e-9 * work / seconds, 1) : ""; };
    table.add({group.sum.name, std::to_string(group.count), milliseconds(group.sum.forward_seconds),
               milliseconds(group.sum.backward_seconds), rate(group.sum.flops), rate(group.sum.bytes)});
  }
  return table.text();
}

std::string text_of(const StepBenchReport& report) {
  double step = 0.0;
  for (const double seconds : report.phases) step += seconds;
  const double roof = report.roof_step_seconds();
  const auto workers = static_cast<double>(report.workers);
  Table phases("lrrl");
  phases.add({"phase", "ms", "", ""});
  for (std::size_t p = 0; p < report.phases.size(); ++p) {
    phases.add({kPhaseNames[p], milliseconds(report.phases[p]), percent(report.phases[p] / step), ""});
  }
  phases.add({"step", milliseconds(step), percent(1.0),
              "mean of the quieter half of " + std::to_string(report.steps) + " steps; median " +
                  milliseconds(report.median_seconds) + ", " + milliseconds(report.least_seconds) + ".." +
                  milliseconds(report.most_seconds)});
  phases.add({"roof", milliseconds(roof), percent(roof / step),
              short_number(report.flops) + " operations at " +
                  fixed_number(1e-9 * report.roof.matmul_flops * workers, 0) + " GFLOP/s, " +
                  bytes_text(report.activation_bytes + report.update_bytes) + " at " +
                  fixed_number(1e-9 * report.roof.memory_bytes * workers, 1) + " GB/s"});

  Table summary("lrl");
  summary.add({"speed", fixed_number(report.items / report.median_seconds, 0), std::string(report.item) + "/s"});
  summary.add({"matmul peak", percent(report.flops / step / report.roof.matmul_flops / workers),
               "of the operations a second that a large product reaches"});
  summary.add({"memory of a worker", bytes_text(*std::max_element(report.peak_bytes.begin(), report.peak_bytes.end())),
               "at most, shared memory counted whole"});
  summary.add({"memory of the node", bytes_text(report.node_bytes), "shared memory counted once"});
  return phases.text() + '\n' + summary.text() + '\n' + operation_table(report);
}

Json json_of(const StepBenchReport& report) {
  Json phases = Json::object();
  for (std::size_t p = 0; p < report.phases.size(); ++p) phases[kPhaseNames[p]] = 1e3 * report.phases[p];
  Json operations = Json::array();
  for (const OperationCost& cost : report.operations) {
    operations.push_back({{"name", cost.name},
                          {"kind", cost.kind},
                          {"flops", cost.flops},
                          {"bytes", cost.bytes},
                          {"forward_ms", 1e3 * cost.forward_seconds},
                          {"backward_ms", 1e3 * cost.backward_seconds}});
  }
  return {{"bench", "step"},
          {"workers", report.workers},
          {"threads", report.threads},
          {"bucket_mib", static_cast<double>(report.bucket_bytes) / (1 << 20)},
          {"steps", report.steps},
          {"samples_per_step", report.samples},
          {"item", report.item},
          {"items_per_second", report.items / report.median_seconds},
          {"step_ms",
           {{"mean", 1e3 * report.mean_seconds},
            {"median", 1e3 * report.median_seconds},
            {"low", 1e3 * report.least_seconds},
            {"high", 1e3 * report.most_seconds}}},
          {"phases_ms", phases},
          {"flops", report.flops},
          {"activation_bytes", report.activation_bytes},
          {"update_bytes", report.update_bytes},
          {"roof",
           {{"matmul_flops_per_second", report.roof.matmul_flops},
            {"memory_bytes_per_second", report.roof.memory_bytes},
            {"step_ms", 1e3 * report.roof_step_seconds()}}},
          {"roof_share", report.roof_step_seconds() / report.median_seconds},
          {"peak_bytes", report.peak_bytes},
          {"node_bytes", report.node_bytes},
          {"operations", operations}};
}

}  // namespace

ExitCode bench_step_of_job(const BenchCommand& command, Process& process) {
  return run_as_worker(process, [&](Communicator& world) {
    std::vector<std::string> settings = command.overrides;
    if (!command.backend.empty()) settings.push_back("compute.backend=" + command.backend);
    const auto load = [&] { return load_config(command.job, {settings, process_environment(), ConfigUse::kTrain}); };
    const AgreedConfig agreed = agree_on_config(world, load);
    const StepBenchReport report = bench_step(agreed.config, world, {.seconds = command.seconds});
    if (world.rank() == 0) std::fputs((command.json ? json_of(report).dump() + '\n' : text_of(report)).c_str(), stdout);
    return ExitCode::kOk;
  });
}

}  // namespace ballast
