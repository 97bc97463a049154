#include "launcher/plan.h"

#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/number_text.h"
#include "launcher/table.h"

namespace ballast {
namespace {

std::string bytes(std::int64_t count) { return bytes_text(static_cast<double>(count)); }

void print(const PlanReport& plan, bool verbose) {
  std::printf("%s with %lld worker%s, %lld shard%s, micro-batches of %lld\n\n", plan.model.c_str(),
              static_cast<long long>(plan.workers), plan.workers == 1 ? "" : "s", static_cast<long long>(plan.shards),
              plan.shards == 1 ? "" : "s", static_cast<long long>(plan.micro));
  Table table("lrl");
  table.add({"parameters", count_text(plan.parameters), "in " + count_text(plan.tensors) + " tensors"});
  table.add(
      {"arithmetic per step", short_number(plan.flops_per_step), "floating-point operations, all workers together"});
  table.add({"sent per step", bytes(plan.wire_bytes), "by the busiest worker, were each on a node of its own"});
  table.add({"checkpoint", bytes(plan.checkpoint_bytes), "weights and optimizer state"});
  table.add({"", "", ""});
  table.add({"memory of a worker", bytes(plan.memory()), ""});
  table.add({"  values", bytes(plan.values), plan.values_shared ? "one copy for all workers of a node" : ""});
  table.add({"  gradients", bytes(plan.gradients), ""});
  table.add({"  optimizer state", bytes(plan.optimizer), "of its share of the weights"});
  table.add({"  activations", bytes(plan.activations), ""});
  table.add({"  checkpoint copy", bytes(plan.snapshot), "of its share, while a checkpoint is written"});
  std::fputs(table.text().c_str(), stdout);
  if (verbose) std::printf("\nOperations: name, kind, output, parameters\n\n%s", plan.operations.c_str());
}

}  // namespace

ExitCode run(const PlanCommand& command, Process&) {
  const JobConfig config = load_config(command.job, {command.overrides, process_environment()});
  const PlanReport plan = make_plan(config, static_cast<int>(command.workers));
  if (command.json) {
    std::fputs(to_json(plan).c_str(), stdout);
  } else {
    print(plan, command.verbose);
  }
  return ExitCode::kOk;
}

}  // namespace ballast
