#include "models/planned_graph.h"

#include <bit>
#include <chrono>
#include <cstring>
#include <utility>

#include "compute/philox.h"

namespace ballast {
namespace {

/// Adds the time of its life to `sum`.
class Stopwatch {
 public:
  explicit Stopwatch(double& sum) : sum_(sum) {}
  ~Stopwatch() { sum_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& sum_;
  Clock::time_point start_ = Clock::now();
};

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
    : graph_(std::move(graph)),
      plan_(make_plan(graph_, max_samples)),
      reads_(graph_, plan_),
      seconds_(graph_.nodes().size()) {}

void PlannedGraph::allocate(Backend& backend, std::uint64_t seed) {
  backend_ = &backend;
  seed_ = seed;
  holds_ = Holds::kNothing;
  arena_ = Buffer(backend, plan_.arena_bytes / size_of(DType::kF32), DType::kF32);
}

LossSums PlannedGraph::forward(const Batch& batch, Mode mode, const ParameterMemory& memory) {
  require_allocated();
  const Pass pass = mode == Mode::kTrain ? Pass::kForward : Pass::kEvaluation;
  backend_->together(key_of(pass, batch, memory, false), [&] {
    reads_.begin(/*forward=*/true, /*backward=*/false);
    run_forward(batch, mode, memory, graph_.nodes().size());
  });
  backend_->synchronize();
  ValueReads::end(memory.use_values);
  return loss_;
}

LossSums PlannedGraph::forward_backward(const Batch& batch, const ParameterMemory& memory, float loss_scale,
                                        float statistic_scale, const GradientsReady& ready,
                                        const std::function<void()>& forward_done) {
  require_allocated();
  const bool later = graph_.loss().traits.loss_in_backward;
  const std::size_t last = graph_.nodes().size() - 1;
  backend_->together(key_of(Pass::kForwardBackward, batch, memory, ready != nullptr), [&] {
    reads_.begin(/*forward=*/true, /*backward=*/true);
    run_forward(batch, Mode::kTrain, memory, later ? last : last + 1);
    if (forward_done) forward_done();
    run_backward(batch, memory, loss_scale, statistic_scale, ready);
  });
  backend_->synchronize();
  ValueReads::end(memory.use_values);
  return loss_;
}

std::uint64_t PlannedGraph::key_of(Pass pass, const Batch& batch, const ParameterMemory& memory, bool sends) {
  const auto samples = static_cast<std::uint64_t>(batch.samples);
  return samples << 4 | static_cast<std::uint64_t>(pass) << 2 | (memory.fresh ? 2U : 0U) | (sends ? 1U : 0U);
}

void PlannedGraph::require_allocated() const {
  require(backend_ != nullptr, "model: allocate() must come before forward()");
}

void PlannedGraph::run_forward(const Batch& batch, Mode mode, const ParameterMemory& memory, std::size_t operations) {
  check_memory(memory, /*gradients=*/false);
  upload_inputs(batch);
  loss_ = {};
  for (std::size_t i = 0; i < operations; ++i) {
    reads_.before(i, /*backward=*/false, memory.use_values);
    const Stopwatch watch(seconds_[i].forward);
    Frame frame = frame_of(i, batch.samples, memory, /*again=*/false);
    frame.dropout = dropout_of(i, batch);
    frame.mode = mode;
    frame.loss = &loss_;
    graph_.nodes()[i].operation->forward(frame);
  }
  holds_ = mode == Mode::kTrain ? Holds::kTrained : Holds::kEvaluated;
  samples_ = batch.samples;
  memory_ = memory;
}

void PlannedGraph::backward(const Batch& batch, const ParameterMemory& memory, float loss_scale, float statistic_scale,
                            const GradientsReady& ready) {
  require(holds_ == Holds::kTrained && samples_ == batch.samples,
          "model: backward() must follow forward(kTrain) of the same batch");
  backend_->together(key_of(Pass::kBackward, batch, memory, ready != nullptr), [&] {
    reads_.begin(/*forward=*/false, /*backward=*/true);
    run_backward(batch, memory, loss_scale, statistic_scale, ready);
  });
  backend_->synchronize();
  ValueReads::end(memory.use_values);
}

void PlannedGraph::run_backward(const Batch& batch, const ParameterMemory& memory, float loss_scale,
                                float statistic_scale, const GradientsReady& ready) {
  check_memory(memory, /*gradients=*/true);
  holds_ = Holds::kNothing;
  if (memory.fresh) {
    for (const int p : plan_.without_gradient) backend_->zero(gradient_of(p, memory));
  }
  std::int64_t final_from = graph_.parameters().flat_size();
  for (std::size_t i = graph_.nodes().size(); i-- > 0;) {
    for (const int again : plan_.nodes[i].again) run_forward_again(static_cast<std::size_t>(again), batch, memory);
    if (plan_.nodes[i].has_backward) {
      reads_.before(i, /*backward=*/true, memory.use_values);
      const Stopwatch watch(seconds_[i].backward);
      Frame frame = frame_of(i, batch.samples, memory, /*again=*/true);
      frame.dropout = dropout_of(i, batch);
      frame.loss = &loss_;
      frame.loss_scale = loss_scale;
      frame.statistic_scale = statistic_scale;
      add_backward_spans(i, memory, frame);
      if (memory.fresh) begin_gradients(i, frame);
      run_node_backward(i, frame);
    }
    if (plan_.nodes[i].ready_offset >= final_from) continue;
    final_from = plan_.nodes[i].ready_offset;
    if (ready) ready(final_from);
  }
}

std::vector<PlannedGraph::Seconds> PlannedGraph::take_seconds() {
  return std::exchange(seconds_, std::vector<Seconds>(seconds_.size()));
}

void PlannedGraph::run_forward_again(std::size_t index, const Batch& batch, const ParameterMemory& memory) {
  reads_.before(index, /*backward=*/false, memory.use_values);
  const Stopwatch watch(seconds_[index].backward);
  Frame frame = frame_of(index, batch.samples, memory, /*again=*/true);
  frame.dropout = dropout_of(index, batch);
  graph_.nodes()[index].operation->forward(frame);
}

void PlannedGraph::run_node_backward(std::size_t index, const Frame& frame) {
  const Node& node = graph_.nodes()[index];
  const NodePlan& plan = plan_.nodes[index];
  if (plan.calls_backward) node.operation->backward(frame);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const GradientRoute& route = plan.routes[i];
    if (route.sum < 0) continue;
    const auto at = [&](int storage) { return span_like(node.inputs[i], storage, frame.samples); };
    backend_->add(at(route.addends[0]), at(route.addends[1]), at(route.sum));
  }
}

Frame PlannedGraph::frame_of(std::size_t index, std::int64_t samples, const ParameterMemory& memory, bool again) const {
  const Node& node = graph_.nodes()[index];
  const std::vector<int>& storages = again ? plan_.value_storage_again : plan_.value_storage;
  const std::vector<int>& saved_storages = again ? plan_.nodes[index].saved_again : plan_.nodes[index].saved;
  const auto at = [&](int value) { return span_like(value, storages[static_cast<std::size_t>(value)], samples); };
  Frame frame{.backend = *backend_};
  frame.samples = samples;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) frame.x[i] = at(node.inputs[i]);
  if (!node.is_loss()) frame.y = at(node.output);
  for (std::size_t i = 0; i < node.traits.saved.size(); ++i) {
    const SavedTensor& saved = node.traits.saved[i];
    const std::int64_t elements = saved.per_sample ? saved.elements * samples : saved.elements;
    frame.saved[i] = span_of(saved_storages[i], elements, graph_.type_of(saved));
  }
  for (std::size_t i = 0; i < node.parameters.size(); ++i) {
    const Parameter& p = graph_.parameters()[node.parameters[i]];
    frame.w[i] = (p.compute == DType::kBF16 ? memory.compute_values : memory.values).subspan(p.offset, p.size);
  }
  const int scratch = again ? plan_.nodes[index].scratch_backward : plan_.nodes[index].scratch;
  if (scratch >= 0) frame.scratch = span_of(scratch, node.operation->scratch_elements(samples), graph_.compute_type());
  return frame;
}

// A key counts 2^32 steps; each further 2^32 have a seed of their own.
DropoutKey PlannedGraph::dropout_of(std::size_t index, const Batch& batch) const {
  const std::uint64_t turn = batch.step >> 32;
  return {.seed = turn == 0 ? seed_ : mix_key(seed_, turn),
          .step = static_cast<std::uint32_t>(batch.step),
          .operation = static_cast<std::uint32_t>(index),
          .first_sample = batch.first_sample};
}

void PlannedGraph::add_backward_spans(std::size_t index, const ParameterMemory& memory, Frame& frame) const {
  const Node& node = graph_.nodes()[index];
  const NodePlan& plan = plan_.nodes[index];
  // Spans of what is not there are taken away: their memory holds something else by now.
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.traits.keeps_input(i)) frame.x[i] = {};
  }
  if (!node.traits.keeps_output) frame.y = {};
  if (node.traits.backward_without_values) frame.w = {};
  if (!node.is_loss()) frame.dy = span_like(node.output, plan.output_gradient, frame.samples);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (plan.routes[i].target >= 0) frame.dx[i] = span_like(node.inputs[i], plan.routes[i].target, frame.samples);
  }
  frame.accumulate = plan.routes[0].accumulate;
  for (std::size_t i = 0; i < node.parameters.size(); ++i) {
    frame.dw[i] = gradient_of(node.parameters[i], memory);
  }
}

DeviceSpan PlannedGraph::gradient_of(int parameter, const ParameterMemory& memory) const {
  const Parameter& p = graph_.parameters()[parameter];
  return memory.gradients.subspan(p.offset, p.size);
}

void PlannedGraph::begin_gradients(std::size_t index, Frame& frame) {
  const Node& node = graph_.nodes()[index];
  for (std::size_t i = 0; i < node.parameters.size(); ++i) {
    if (!plan_.nodes[index].first_gradient[i]) continue;
    if (i == 0 && node.traits.begins_weight) {
      frame.begin_weight = true;
    } else {
      backend_->zero(frame.dw[i]);
    }
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
  const std::size_t loss = graph_.nodes().size() - 1;
  const Operation& operation = *graph_.loss().operation;
  const std::vector<ElementRange> values = ValueReads::forward(graph_, loss);
  if (memory_.use_values) memory_.use_values(values, {});
  const Frame frame = frame_of(loss, samples_, memory_, /*again=*/false);
  const std::int64_t all_rows = frame.x[1].size;  // one per target
  std::size_t done = 0;
  for (const std::int64_t row_number : rows) {
    require(row_number >= 0 && row_number < all_rows, "model: download_logits() of a row beyond the batch");
    const ConstDeviceSpan row = operation.logits(frame, row_number);
    const auto classes = static_cast<std::size_t>(row.size);
    require(logits.size() == rows.size() * classes,
            "model: download_logits() needs room for one float per class and row");
    const auto out = logits.subspan(done++ * classes, classes);
    const bool as_it_is = row.dtype == DType::kF32;
    row_bytes_.resize(static_cast<std::size_t>(row.bytes()));
    backend_->download(row, as_it_is ? std::as_writable_bytes(out) : std::span<std::byte>(row_bytes_));
    backend_->synchronize();
    if (!as_it_is) widen(row.dtype, row_bytes_, out);
  }
  ValueReads::end(memory_.use_values);
}

DeviceSpan PlannedGraph::span_of(int storage, std::int64_t elements, DType dtype) const {
  const Storage& s = plan_.storages[static_cast<std::size_t>(storage)];
  return {static_cast<std::byte*>(arena_.span().data) + s.offset, elements, dtype};
}

DeviceSpan PlannedGraph::value_span(int value, std::int64_t samples) const {
  return span_like(value, plan_.value_storage[static_cast<std::size_t>(value)], samples);
}

DeviceSpan PlannedGraph::span_like(int value, int storage, std::int64_t samples) const {
  const auto v = static_cast<std::size_t>(value);
  return span_of(storage, plan_.value_elements[v] * samples, graph_.values()[v].dtype);
}

}  // namespace ballast
