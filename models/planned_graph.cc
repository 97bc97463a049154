#include "models/planned_graph.h"

#include <bit>
#include <cstring>
#include <utility>

namespace ballast {
namespace {

/// One row of logits, as it lies on the backend, to f32.
void widen(DType dtype, const std::vector<std::byte>& row, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (dtype == DType::kBF16) {
      std::uint16_t half = 0;
      std::memcpy(&half, row.data() + 2 * i, 2);
      out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
    } else {
      double value = 0.0;
      std::memcpy(&value, row.data() + 8 * i, 8);
      out[i] = static_cast<float>(value);
    }
  }
}

}  // namespace

PlannedGraph::PlannedGraph(Graph graph, std::int64_t max_samples)
    : graph_(std::move(graph)), plan_(make_plan(graph_, max_samples)) {}

void PlannedGraph::allocate(Backend& backend, std::uint64_t seed) {
  backend_ = &backend;
  seed_ = seed;
  holds_ = Holds::kNothing;
  arena_ = Buffer(backend, plan_.arena_bytes / size_of(DType::kF32), DType::kF32);
  const ValueInfo& logits = graph_.info(graph_.logits());
  row_bytes_.resize(static_cast<std::size_t>(logits.shape.last() * size_of(logits.dtype)));
}

LossSums PlannedGraph::forward(const Batch& batch, Mode mode, const ParameterMemory& memory) {
  require(backend_ != nullptr, "model: allocate() must come before forward()");
  check_memory(memory, /*gradients=*/false);
  upload_inputs(batch);
  LossSums loss;
  for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
    Frame frame = frame_of(i, batch, memory);
    frame.mode = mode;
    frame.loss = &loss;
    graph_.nodes()[i].operation->forward(frame);
  }
  holds_ = mode == Mode::kTrain ? Holds::kTrained : Holds::kEvaluated;
  samples_ = batch.samples;
  return loss;
}

void PlannedGraph::backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                            const GradientsReady& ready) {
  require(holds_ == Holds::kTrained && samples_ == batch.samples,
          "model: backward() must follow forward(kTrain) of the same batch");
  check_memory(memory, /*gradients=*/true);
  holds_ = Holds::kNothing;
  std::int64_t final_from = graph_.parameters().flat_size();
  for (std::size_t i = graph_.nodes().size(); i-- > 0;) {
    if (plan_.nodes[i].has_backward) {
      Frame frame = frame_of(i, batch, memory);
      frame.loss_scale = loss_scale;
      frame.statistic_scale = statistic_scale;
      add_backward_spans(i, memory, frame);
      run_backward(i, frame);
    }
    if (plan_.nodes[i].ready_offset >= final_from) continue;
    final_from = plan_.nodes[i].ready_offset;
    if (ready) ready(final_from);
  }
}

void PlannedGraph::run_backward(std::size_t index, const Frame& frame) {
  const Node& node = graph_.nodes()[index];
  const NodePlan& plan = plan_.nodes[index];
  if (plan.calls_backward) node.operation->backward(frame);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const GradientRoute& route = plan.routes[i];
    if (route.sum < 0) continue;
    const auto at = [&](int storage) { return gradient_span(storage, node.inputs[i], frame.samples); };
    backend_->add(at(route.addends[0]), at(route.addends[1]), at(route.sum));
  }
}

Frame PlannedGraph::frame_of(std::size_t index, const Batch& batch, const ParameterMemory& memory) const {
  const Node& node = graph_.nodes()[index];
  Frame frame{.backend = *backend_};
  frame.samples = batch.samples;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) frame.x[i] = value_span(node.inputs[i], batch.samples);
  if (!node.is_loss()) frame.y = value_span(node.output, batch.samples);
  for (std::size_t i = 0; i < node.traits.saved.size(); ++i) {
    const SavedTensor& saved = node.traits.saved[i];
    const std::int64_t elements = saved.per_sample ? saved.elements * batch.samples : saved.elements;
    frame.saved[i] = span_of(plan_.nodes[index].saved[i], elements, graph_.wide_type());
  }
  for (std::size_t i = 0; i < node.parameters.size(); ++i) {
    const Parameter& p = graph_.parameters()[node.parameters[i]];
    frame.w[i] = (p.compute == DType::kBF16 ? memory.compute_values : memory.values).subspan(p.offset, p.size);
  }
  frame.dropout = {.seed = seed_,
                   .step = batch.step,
                   .operation = static_cast<std::uint32_t>(index),
                   .first_sample = batch.first_sample};
  return frame;
}

void PlannedGraph::add_backward_spans(std::size_t index, const ParameterMemory& memory, Frame& frame) const {
  const Node& node = graph_.nodes()[index];
  const NodePlan& plan = plan_.nodes[index];
  // Spans of values that are not kept are taken away: their memory holds something else by now.
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.traits.keeps_input(i)) frame.x[i] = {};
  }
  if (!node.traits.keeps_output) frame.y = {};
  if (!node.is_loss()) frame.dy = gradient_span(plan.output_gradient, node.output, frame.samples);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (plan.routes[i].target >= 0) frame.dx[i] = gradient_span(plan.routes[i].target, node.inputs[i], frame.samples);
  }
  frame.accumulate = plan.routes[0].accumulate;
  for (std::size_t i = 0; i < node.parameters.size(); ++i) {
    const Parameter& p = graph_.parameters()[node.parameters[i]];
    frame.dw[i] = memory.gradients.subspan(p.offset, p.size);
  }
}

void PlannedGraph::upload_inputs(const Batch& batch) {
  const auto upload = [&](Value input, auto host) {
    if (input.index >= 0) backend_->upload(std::as_bytes(host), value_span(input.index, batch.samples));
  };
  upload(graph_.features_input(), batch.features);
  upload(graph_.tokens_input(), batch.tokens);
  upload(graph_.targets_input(), batch.targets);
}

void PlannedGraph::check_memory(const ParameterMemory& memory, bool gradients) const {
  const std::int64_t size = graph_.parameters().flat_size();
  require(memory.values.size == size && memory.values.dtype == graph_.wide_type(),
          "model: the values are not laid out as the parameter table");
  require(graph_.compute_type() != DType::kBF16 ||
              (memory.compute_values.size == size && memory.compute_values.dtype == DType::kBF16),
          "model: the bf16 values are not laid out as the parameter table");
  require(!gradients || (memory.gradients.size == size && memory.gradients.dtype == graph_.wide_type()),
          "model: the gradients are not laid out as the parameter table");
}

void PlannedGraph::download_logits(std::span<const std::int64_t> rows, std::span<float> logits) {
  require(holds_ != Holds::kNothing, "model: download_logits() must follow forward(), before backward()");
  const int value = graph_.logits().index;
  const ConstDeviceSpan all = value_span(value, samples_);
  const std::int64_t classes = graph_.info({value}).shape.last();
  require(static_cast<std::int64_t>(logits.size()) == static_cast<std::int64_t>(rows.size()) * classes,
          "model: download_logits() needs room for one float per class and row");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    require(rows[i] >= 0 && rows[i] < all.size / classes, "model: download_logits() of a row beyond the batch");
    const ConstDeviceSpan row = all.subspan(rows[i] * classes, classes);
    const auto out = logits.subspan(i * static_cast<std::size_t>(classes), static_cast<std::size_t>(classes));
    const bool as_it_is = row.dtype == DType::kF32;
    backend_->download(row, as_it_is ? std::as_writable_bytes(out) : std::span<std::byte>(row_bytes_));
    backend_->synchronize();
    if (!as_it_is) widen(row.dtype, row_bytes_, out);
  }
}

DeviceSpan PlannedGraph::span_of(int storage, std::int64_t elements, DType dtype) const {
  const Storage& s = plan_.storages[static_cast<std::size_t>(storage)];
  return {static_cast<std::byte*>(arena_.span().data) + s.offset, elements, dtype};
}

DeviceSpan PlannedGraph::value_span(int value, std::int64_t samples) const {
  return gradient_span(plan_.value_storage[static_cast<std::size_t>(value)], value, samples);
}

DeviceSpan PlannedGraph::gradient_span(int storage, int value, std::int64_t samples) const {
  const auto v = static_cast<std::size_t>(value);
  return span_of(storage, plan_.value_elements[v] * samples, graph_.values()[v].dtype);
}

}  // namespace ballast
