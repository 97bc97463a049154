#include "models/model.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "models/planned_graph.h"
#include "models/planner/value_reads.h"
#include "models/zoo/zoo.h"

namespace ballast {
namespace {

void check_size(const char* what, std::size_t size, std::int64_t samples, std::int64_t per_sample) {
  if (static_cast<std::int64_t>(size) == samples * per_sample) return;
  throw Error("batch: " + std::to_string(size) + " " + what + " for " + std::to_string(samples) + " samples of " +
              std::to_string(per_sample) + " each");
}

/// Operations index tables by these numbers without looking.
void check_range(const char* what, std::span<const std::int32_t> numbers, std::int64_t lowest, std::int64_t end,
                 std::int64_t per_sample) {
  const auto bad = std::find_if(numbers.begin(), numbers.end(), [&](auto n) { return n < lowest || n >= end; });
  if (bad == numbers.end()) return;
  throw DataError(std::string(what) + " " + std::to_string(*bad) + " of sample " +
                  std::to_string((bad - numbers.begin()) / per_sample) + " of the batch is outside [0, " +
                  std::to_string(end) + "): the data set does not fit the model");
}

void check_batch(const Batch& batch, const InputSpec& input, std::int64_t max_samples) {
  if (batch.samples < 1 || batch.samples > max_samples) {
    throw Error("batch: " + std::to_string(batch.samples) + " samples, but the model is planned for 1 to " +
                std::to_string(max_samples));
  }
  const std::int64_t elements = input.sample.elements();
  const bool features = input.kind == InputSpec::Kind::kFeatures;
  check_size("features", batch.features.size(), batch.samples, features ? elements : 0);
  check_size("tokens", batch.tokens.size(), batch.samples, features ? 0 : elements);
  check_size("targets", batch.targets.size(), batch.samples, input.targets_per_sample);
  check_range("token", batch.tokens, 0, input.classes, elements);
  check_range("target", batch.targets, -1, input.classes, input.targets_per_sample);
}

/// Of one sample.
double flops_of(const Node& node, const Graph& graph) {
  const Flops& flops = node.traits.flops;
  return flops.forward + flops.weights + (graph.info({node.inputs[0]}).needs_gradient ? flops.data : 0.0);
}

double bytes_of(int value, const Graph& graph) {
  const ValueInfo& info = graph.info({value});
  return static_cast<double>(info.shape.elements() * size_of(info.dtype));
}

/// Of one sample: forward reads x and writes y.
double forward_bytes_of(const Node& node, const Graph& graph) {
  if (node.traits.flops.forward > 0.0) return 0.0;  // a matrix product's bytes are part of its rate
  double sum = node.is_loss() ? 0.0 : bytes_of(node.output, graph);
  for (const int input : node.inputs) sum += bytes_of(input, graph);
  return sum;
}

/// A loss that is found in backward costs nothing before.
double forward_flops_of(const Node& node) { return node.traits.loss_in_backward ? 0.0 : node.traits.flops.forward; }

/// Of one sample: forward reads x and writes y; backward reads dy and what was kept and writes dx.
double bytes_of(const Node& node, const Graph& graph) {
  if (node.traits.flops.forward > 0.0) return 0.0;  // a matrix product's bytes are part of its rate
  const auto bytes = [&](int value) { return bytes_of(value, graph); };
  const double y = node.is_loss() ? 0.0 : bytes(node.output);
  double x = 0.0, kept = 0.0, dx = 0.0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    x += bytes(node.inputs[i]);
    if (node.traits.keeps_input(i)) kept += bytes(node.inputs[i]);
    if (graph.info({node.inputs[i]}).needs_gradient) dx += bytes(node.inputs[i]);
  }
  if (node.traits.passes_gradient) return x + y;
  return x + y + y + dx + kept + (node.traits.keeps_output ? y : 0.0);
}

std::string line_of(const Node& node, const Graph& graph) {
  std::int64_t trained = 0;
  for (const int index : node.parameters) {
    const Parameter& p = graph.parameters()[index];
    if (p.kind == ParameterKind::kTrained) trained += p.size;
  }
  const std::string shape = node.is_loss() ? "" : graph.info({node.output}).shape.to_string();
  const std::string count = trained > 0 ? std::to_string(trained) : "";
  std::vector<char> line(node.name.size() + shape.size() + 128);
  std::snprintf(line.data(), line.size(), "%-36s %-14s %-18s %12s", node.name.c_str(), node.operation->kind(),
                shape.c_str(), count.c_str());
  std::string text = line.data();
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

}  // namespace

Model::Model(std::unique_ptr<PlannedGraph> graph, InputSpec input)
    : graph_(std::move(graph)), input_(std::move(input)) {}
Model::Model(Model&&) noexcept = default;
Model::~Model() = default;

const ParameterTable& Model::parameters() const { return graph_->graph().parameters(); }

DType Model::compute_type() const { return graph_->graph().compute_type(); }

std::int64_t Model::max_samples() const { return graph_->plan().max_samples; }

std::int64_t Model::arena_bytes() const { return graph_->plan().arena_bytes; }

double Model::flops_per_sample() const {
  const Graph& graph = graph_->graph();
  double sum = 0.0;
  for (const Node& node : graph.nodes()) sum += flops_of(node, graph);
  return sum;
}

std::vector<OperationCost> Model::operation_costs() {
  const Graph& graph = graph_->graph();
  const std::vector<PlannedGraph::Seconds> seconds = graph_->take_seconds();
  std::vector<OperationCost> costs;
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const Node& node = graph.nodes()[i];
    costs.push_back({.name = node.name,
                     .kind = node.operation->kind(),
                     .flops = flops_of(node, graph),
                     .bytes = bytes_of(node, graph),
                     .forward_flops = forward_flops_of(node),
                     .forward_bytes = forward_bytes_of(node, graph),
                     .again = graph_->plan().nodes[i].again,
                     .values = ValueReads::forward(graph, i),
                     .backward_values = ValueReads::backward(graph, i),
                     .ready_offset = graph_->plan().nodes[i].ready_offset,
                     .forward_seconds = seconds[i].forward,
                     .backward_seconds = seconds[i].backward});
  }
  return costs;
}

std::string Model::summary() const {
  std::string text;
  for (const Node& node : graph_->graph().nodes()) text += line_of(node, graph_->graph());
  return text;
}

void Model::allocate(Backend& backend, std::uint64_t seed) { graph_->allocate(backend, seed); }

LossSums Model::forward(const Batch& batch, Mode mode, const ParameterMemory& memory) {
  check_batch(batch, input_, max_samples());
  return graph_->forward(batch, mode, memory);
}

void Model::backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                     const GradientsReady& ready) {
  graph_->backward(batch, memory, loss_scale, statistic_scale, ready);
}

LossSums Model::forward_backward(const Batch& batch, const ParameterMemory& memory, float loss_scale,
                                 float statistic_scale, const GradientsReady& ready,
                                 const std::function<void()>& forward_done) {
  check_batch(batch, input_, max_samples());
  return graph_->forward_backward(batch, memory, loss_scale, statistic_scale, ready, forward_done);
}

void Model::download_logits(std::span<const std::int64_t> rows, std::span<float> logits) {
  graph_->download_logits(rows, logits);
}

Model build_model(const ModelConfig& config, DType compute, std::int64_t max_samples) {
  InputSpec input;
  Graph graph = build_graph(config, compute, input);
  return {std::make_unique<PlannedGraph>(std::move(graph), max_samples), std::move(input)};
}

}  // namespace ballast
