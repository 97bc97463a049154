#include "models/graph.h"

#include <utility>

#include "models/operations/operations.h"

namespace ballast {
namespace {

constexpr Initializer kZeros{.kind = Initializer::Kind::kConstant, .scale = 0.0F};
constexpr Initializer kOnes{.kind = Initializer::Kind::kConstant, .scale = 1.0F};

}  // namespace

// --- inputs and parameters -------------------------------------------------------------------------------------------

Value Graph::input(Value& slot, const char* what, const Shape& shape, DType dtype) {
  if (slot.index >= 0) throw Error(std::string("graph: the input ") + what + " is declared twice");
  slot.index = static_cast<int>(values_.size());
  values_.push_back({.shape = shape, .dtype = dtype, .producer = -1, .readers = {}, .needs_gradient = false});
  return slot;
}

Value Graph::features(const Shape& sample) {
  const Value x = input(features_, "features", sample, DType::kF32);
  return append(scoped("input"), convert_operation(sample), {x}, {});
}

Value Graph::tokens(std::int64_t positions) { return input(tokens_, "tokens", {positions}, DType::kI32); }

Value Graph::targets(std::int64_t count) { return input(targets_, "targets", {count}, DType::kI32); }

int Graph::declare(const std::string& name, const Shape& shape, ParameterKind kind, const Initializer& initializer) {
  const bool narrow = compute_ == DType::kBF16 && shape.rank() >= 2;
  return parameters_.add(scoped(name), shape, kind, initializer, narrow ? DType::kBF16 : wide_type());
}

int Graph::parameter(const std::string& name, const Shape& shape, const Initializer& initializer) {
  return declare(name, shape, ParameterKind::kTrained, initializer);
}

// --- operations
// -------------------------------------------------------------------------------------------------------

Value Graph::append(const std::string& name, std::unique_ptr<Operation> operation, const std::vector<Value>& inputs,
                    const std::vector<int>& parameters) {
  Node node{.name = name,
            .operation = std::move(operation),
            .traits = {},
            .inputs = {},
            .parameters = parameters,
            .segment = segment_};
  node.traits = node.operation->traits();
  require(inputs.size() <= kMaxInputs && parameters.size() <= kMaxParameters && node.traits.saved.size() <= kMaxSaved,
          "graph: an operation has more inputs, parameters or saved tensors than a Frame holds");
  bool needs_gradient = !parameters.empty();
  const int index = static_cast<int>(nodes_.size());
  for (const Value x : inputs) {
    if (x.index < 0) throw Error("graph: an input of " + name + " is not a value of the graph");
    node.inputs.push_back(x.index);
    auto& read = values_[static_cast<std::size_t>(x.index)];
    read.readers.push_back(index);
    needs_gradient = needs_gradient || read.needs_gradient;
  }
  values_.push_back({.shape = node.operation->output(),
                     .dtype = compute_,
                     .producer = index,
                     .readers = {},
                     .needs_gradient = needs_gradient});
  node.output = static_cast<int>(values_.size()) - 1;
  nodes_.push_back(std::move(node));
  return {nodes_.back().output};
}

Value Graph::linear(Value x, std::int64_t outputs, const std::string& name, const Initializer& weights) {
  return linear(x, outputs, LinearTail::kNone, name, weights);
}

Value Graph::linear_gelu(Value x, std::int64_t outputs, const std::string& name, const Initializer& weights) {
  return linear(x, outputs, LinearTail::kGelu, name, weights);
}

Value Graph::linear(Value x, std::int64_t outputs, LinearTail tail, const std::string& name,
                    const Initializer& weights) {
  auto operation = linear_operation(info(x).shape, outputs, tail);
  const int weight = parameter(name + ".weight", {outputs, info(x).shape.last()}, weights);
  const int bias = parameter(name + ".bias", {outputs}, kZeros);
  return append(scoped(name), std::move(operation), {x}, {weight, bias});
}

Value Graph::convolution(Value x, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                         const std::string& name, const Initializer& weights) {
  auto operation = convolution_operation(info(x).shape, outputs, kernel, stride);
  const int weight = parameter(name + ".weight", {outputs, info(x).shape.last(), kernel, kernel}, weights);
  return append(scoped(name), std::move(operation), {x}, {weight});
}

BatchNormParameters Graph::batch_norm_parameters(Value x, const std::string& name) {
  const Shape channels{info(x).shape.last()};
  const int weight = parameter(name + ".weight", channels, kOnes);
  const int bias = parameter(name + ".bias", channels, kZeros);
  const int mean = declare(name + ".running_mean", channels, ParameterKind::kStatistic, kZeros);
  const int variance = declare(name + ".running_variance", channels, ParameterKind::kStatistic, kOnes);
  return {.name = name, .indices = {weight, bias, mean, variance}};
}

Value Graph::batch_norm(Value x, const std::string& name) {
  auto operation = batch_norm_operation(info(x).shape, BatchNormTail::kNone);
  return append(scoped(name), std::move(operation), {x}, batch_norm_parameters(x, name).indices);
}

Value Graph::batch_norm_relu(Value x, const std::string& name) {
  auto operation = batch_norm_operation(info(x).shape, BatchNormTail::kRelu);
  return append(scoped(name), std::move(operation), {x}, batch_norm_parameters(x, name).indices);
}

Value Graph::batch_norm_add_relu(Value x, Value skip, const BatchNormParameters& parameters) {
  if (info(x).shape != info(skip).shape) {
    throw Error(parameters.name + ": shapes " + info(x).shape.to_string() + " and " + info(skip).shape.to_string() +
                " differ");
  }
  auto operation = batch_norm_operation(info(x).shape, BatchNormTail::kAddAndRelu);
  return append(scoped(parameters.name), std::move(operation), {x, skip}, parameters.indices);
}

Value Graph::layer_norm(Value x, const std::string& name) {
  auto operation = layer_norm_operation(info(x).shape);
  const Shape channels{info(x).shape.last()};
  const int weight = parameter(name + ".weight", channels, kOnes);
  const int bias = parameter(name + ".bias", channels, kZeros);
  return append(scoped(name), std::move(operation), {x}, {weight, bias});
}

Value Graph::relu(Value x) { return append(scoped("relu"), relu_operation(info(x).shape), {x}, {}); }

Value Graph::gelu(Value x) { return append(scoped("gelu"), gelu_operation(info(x).shape), {x}, {}); }

Value Graph::add(Value a, Value b) {
  return append(scoped("add"), add_operation(info(a).shape, info(b).shape), {a, b}, {});
}

Value Graph::dropout(Value x, float rate) {
  return rate > 0.0F ? append(scoped("dropout"), dropout_operation(info(x).shape, rate), {x}, {}) : x;
}

Value Graph::embedding(Value tokens, int token_table, int position_table) {
  auto operation =
      embedding_operation(info(tokens).shape, parameters_[token_table].shape, parameters_[position_table].shape);
  return append(scoped("embedding"), std::move(operation), {tokens}, {token_table, position_table});
}

Value Graph::attention(Value qkv, std::int64_t heads) {
  return append(scoped("attention"), attention_operation(info(qkv).shape, heads), {qkv}, {});
}

Value Graph::average_pool(Value x) {
  return append(scoped("average_pool"), average_pool_operation(info(x).shape), {x}, {});
}

void Graph::cross_entropy(Value logits, Value targets) {
  end("loss", cross_entropy_operation(info(logits).shape, info(targets).shape), {logits, targets}, {});
}

void Graph::linear_cross_entropy(Value x, int weight, Value targets, const std::string& name, std::int64_t most_rows) {
  end(name, linear_cross_entropy_operation(info(x).shape, parameters_[weight].shape, info(targets).shape, most_rows),
      {x, targets}, {weight});
}

void Graph::end(const std::string& name, std::unique_ptr<Operation> operation, const std::vector<Value>& inputs,
                const std::vector<int>& parameters) {
  append(scoped(name), std::move(operation), inputs, parameters);
  values_.pop_back();  // the loss goes to the host: it is no tensor of the graph
  nodes_.back().output = -1;
}

// --- the whole
// --------------------------------------------------------------------------------------------------------

const Node& Graph::loss() const {
  require(!nodes_.empty() && nodes_.back().is_loss(), "graph: it does not end in a loss");
  return nodes_.back();
}

void Graph::check_complete() const {
  require(info({loss().inputs[0]}).needs_gradient, "graph: the loss depends on no parameter");
  for (std::size_t v = 0; v < values_.size(); ++v) {
    const int producer = values_[v].producer;
    if (values_[v].readers.empty()) {
      throw Error("graph: nothing reads " +
                  (producer < 0 ? "an input" : "the output of " + nodes_[static_cast<std::size_t>(producer)].name));
    }
  }
}

}  // namespace ballast
