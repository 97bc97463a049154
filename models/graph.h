// Defines: Value, Graph, NameScope, Segment: what a model computes, as a list of operations in forward order.
//
// A model is a function that calls the builder methods. They check shapes, declare parameters and append one operation
// each. Nothing is planned or allocated here: see planner/plan.h and planned_graph.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/operation.h"
#include "models/parameters.h"

namespace ballast {

/// A tensor of the graph: the output of an operation, or an input.
struct Value {
  int index = -1;
};

/// What the graph knows of a value. Shapes are those of one sample.
struct ValueInfo {
  Shape shape;
  DType dtype = DType::kF32;
  int producer = -1;         ///< operation, or -1 for an input
  std::vector<int> readers;  ///< operations in forward order; twice when it is both inputs of one
  bool needs_gradient = false;
};

struct Node {
  std::string name;  ///< "blocks.0.attention.qkv"
  std::unique_ptr<Operation> operation;
  Traits traits;
  std::vector<int> inputs;      ///< values
  std::vector<int> parameters;  ///< indices in the table
  int output = -1;              ///< value, or -1 for the loss
  int segment = -1;             ///< see Segment

  [[nodiscard]] bool is_loss() const { return output < 0; }
};

/// What a batch norm owns in the parameter table.
struct BatchNormParameters {
  std::string name;
  std::vector<int> indices;
};

class Graph {
 public:
  /// `compute` is the type of activations: f32, bf16, or f64 for gradient checks.
  explicit Graph(DType compute) : compute_(compute) {}

  // --- inputs: at most one of each
  // ------------------------------------------------------------------------------------
  Value features(const Shape& sample);  ///< f32 from the host, in the compute type afterwards
  Value tokens(std::int64_t positions);
  Value targets(std::int64_t count);

  // --- parameters
  // -----------------------------------------------------------------------------------------------------
  /// Declares a trained parameter and returns its index. Matrices and filters are read in the compute type.
  int parameter(const std::string& name, const Shape& shape, const Initializer& initializer);

  // --- operations: see operations/operations.h for the mathematics. `name` prefixes the parameters
  // --------------------------
  Value linear(Value x, std::int64_t outputs, const std::string& name, const Initializer& weights);
  /// gelu(linear(x)), in one operation.
  Value linear_gelu(Value x, std::int64_t outputs, const std::string& name, const Initializer& weights);
  /// Without bias; pad = kernel / 2.
  Value convolution(Value x, std::int64_t outputs, std::int64_t kernel, std::int64_t stride, const std::string& name,
                    const Initializer& weights);
  Value batch_norm(Value x, const std::string& name);
  /// relu(batch_norm(x)), in one operation.
  Value batch_norm_relu(Value x, const std::string& name);
  /// relu(batch_norm(x) + skip), in one operation, by parameters that are declared already.
  Value batch_norm_add_relu(Value x, Value skip, const BatchNormParameters& parameters);
  BatchNormParameters batch_norm_parameters(Value x, const std::string& name);
  Value layer_norm(Value x, const std::string& name);
  Value relu(Value x);
  Value gelu(Value x);
  Value add(Value a, Value b);
  Value dropout(Value x, float rate);  ///< returns x itself for rate 0
  Value embedding(Value tokens, int token_table, int position_table);
  Value attention(Value qkv, std::int64_t heads);
  Value average_pool(Value x);
  /// Ends the graph.
  void cross_entropy(Value logits, Value targets);
  /// Ends the graph, with logits = x weight^T, by a weight_VC that is declared already, `most_rows` of them at a time
  /// (0: a good number).
  void linear_cross_entropy(Value x, int weight, Value targets, const std::string& name, std::int64_t most_rows = 0);

  /// Appends an operation. Returns its output (an index of -1 for the loss).
  Value append(const std::string& name, std::unique_ptr<Operation> operation, const std::vector<Value>& inputs,
               const std::vector<int>& parameters);

  [[nodiscard]] DType compute_type() const { return compute_; }
  [[nodiscard]] DType wide_type() const { return compute_ == DType::kF64 ? DType::kF64 : DType::kF32; }
  [[nodiscard]] DType type_of(const SavedTensor& saved) const { return saved.compute_type ? compute_ : wide_type(); }
  [[nodiscard]] const ValueInfo& info(Value value) const { return values_[static_cast<std::size_t>(value.index)]; }
  [[nodiscard]] const std::vector<ValueInfo>& values() const { return values_; }
  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  [[nodiscard]] const ParameterTable& parameters() const { return parameters_; }
  [[nodiscard]] Value features_input() const { return features_; }
  [[nodiscard]] Value tokens_input() const { return tokens_; }
  [[nodiscard]] Value targets_input() const { return targets_; }
  [[nodiscard]] const Node& loss() const;  ///< the last operation; throws Error while it is no loss

  /// Throws Error unless the graph ends in its loss and every value is read.
  void check_complete() const;

 private:
  friend class NameScope;
  friend class Segment;

  Value input(Value& slot, const char* what, const Shape& shape, DType dtype);
  [[nodiscard]] std::string scoped(const std::string& name) const { return scope_ + name; }
  void end(const std::string& name, std::unique_ptr<Operation> operation, const std::vector<Value>& inputs,
           const std::vector<int>& parameters);
  Value linear(Value x, std::int64_t outputs, LinearTail tail, const std::string& name, const Initializer& weights);
  int declare(const std::string& name, const Shape& shape, ParameterKind kind, const Initializer& initializer);

  DType compute_;
  std::vector<ValueInfo> values_;
  std::vector<Node> nodes_;
  ParameterTable parameters_;
  Value features_, tokens_, targets_;
  std::string scope_;  ///< "" or ends in a dot
  int segment_ = -1, segments_ = 0;
};

/// While it lives, names in the graph begin with `name` and a dot.
class NameScope {
 public:
  NameScope(Graph& graph, const std::string& name) : graph_(graph), outer_(graph.scope_) { graph.scope_ += name + "."; }
  ~NameScope() { graph_.scope_ = outer_; }
  NameScope(const NameScope&) = delete;
  NameScope& operator=(const NameScope&) = delete;

 private:
  Graph& graph_;
  std::string outer_;
};

/// The operations that are appended while it lives are run again in backward, just before their own: what they leave
/// for each other is not kept in between (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Does
/// nothing where `recompute` is false, and within another segment.
class Segment {
 public:
  Segment(Graph& graph, bool recompute) : graph_(graph), outer_(graph.segment_) {
    if (recompute && outer_ < 0) graph.segment_ = graph.segments_++;
  }
  ~Segment() { graph_.segment_ = outer_; }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

 private:
  Graph& graph_;
  int outer_;
};

}  // namespace ballast
