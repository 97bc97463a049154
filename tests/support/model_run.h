// Defines: ModelRun, ExampleBatch: a model with its memory on a backend, and data for it, for tests.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "models/model.h"
#include "tests/support/reference_elements.h"

namespace ballast {

/// Host memory of a batch. Features are normal; every fifth target is -1 (not counted).
class ExampleBatch {
 public:
  ExampleBatch(const InputSpec& input, std::int64_t samples, unsigned seed = 1) : input_(input), samples_(samples) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto count = static_cast<std::size_t>(samples * input.sample.elements());
    const auto below = [&](std::int64_t end) {
      return static_cast<std::int32_t>(random() % static_cast<unsigned>(end));
    };
    if (input.kind == InputSpec::Kind::kFeatures) {
      for (std::size_t i = 0; i < count; ++i) features_.push_back(normal(random));
    } else {
      for (std::size_t i = 0; i < count; ++i) tokens_.push_back(below(input.classes));
    }
    for (std::int64_t i = 0; i < samples * input.targets_per_sample; ++i)
      targets_.push_back(i % 5 == 4 ? -1 : below(input.classes));
  }

  [[nodiscard]] Batch all() const { return part(0, samples_); }

  /// Samples [first, first + count) of the batch.
  [[nodiscard]] Batch part(std::int64_t first, std::int64_t count) const {
    Batch batch;
    batch.samples = count;
    batch.step = 7;
    batch.first_sample = static_cast<std::uint32_t>(first);
    batch.features = cut(features_, first, count, input_.sample.elements());
    batch.tokens = cut(tokens_, first, count, input_.sample.elements());
    batch.targets = cut(targets_, first, count, input_.targets_per_sample);
    return batch;
  }

 private:
  template <typename T>
  static std::span<const T> cut(const std::vector<T>& all, std::int64_t first, std::int64_t count, std::int64_t each) {
    if (all.empty()) return {};
    return std::span<const T>(all).subspan(static_cast<std::size_t>(first * each),
                                           static_cast<std::size_t>(count * each));
  }

  InputSpec input_;
  std::int64_t samples_;
  std::vector<float> features_;
  std::vector<std::int32_t> tokens_, targets_;
};

/// Flat buffers have the wide type of the model: f64 in f64 models, else f32. Values start as the table's initial
/// values.
class ModelRun {
 public:
  ModelRun(Model model, Backend& backend, std::uint64_t seed = 1) : backend_(backend), model_(std::move(model)) {
    const DType wide = model_.compute_type() == DType::kF64 ? DType::kF64 : DType::kF32;
    const std::int64_t size = table().flat_size();
    values_ = Buffer(backend, size, wide);
    gradients_ = Buffer(backend, size, wide);
    if (model_.compute_type() == DType::kBF16) compute_ = Buffer(backend, size, DType::kBF16);
    std::vector<double> start(static_cast<std::size_t>(size));
    for (const Parameter& p : table().all()) {
      std::vector<float> part(static_cast<std::size_t>(p.size));
      initial_values(p, seed, 0, part);
      std::copy(part.begin(), part.end(), start.begin() + p.offset);
    }
    set_values(start);
    backend_.zero(gradients_.span());
    model_.allocate(backend, seed);
  }

  [[nodiscard]] Model& model() { return model_; }
  [[nodiscard]] const ParameterTable& table() const { return model_.parameters(); }

  void set_values(const std::vector<double>& values) {
    host_values_ = values;
    write(values_.span(), values);
    if (!compute_.span().empty()) write(compute_.span(), values);
  }
  [[nodiscard]] const std::vector<double>& values() const { return host_values_; }
  [[nodiscard]] std::vector<double> gradients() { return read(gradients_.span()); }
  void set_gradients(double value) {
    write(gradients_.span(), std::vector<double>(static_cast<std::size_t>(gradients_.span().size), value));
  }
  void zero_gradients() { backend_.zero(gradients_.span()); }
  [[nodiscard]] ParameterMemory memory(bool fresh = false) const {
    return {values_.span(), compute_.span(), gradients_.span(), fresh};
  }

  LossSums forward(const Batch& batch, Mode mode = Mode::kTrain) { return model_.forward(batch, mode, memory()); }
  void backward(const Batch& batch, float loss_scale = 0.5F, float statistic_scale = 0.25F,
                const GradientsReady& ready = {}) {
    model_.backward(batch, memory(), loss_scale, statistic_scale, ready);
  }
  LossSums forward_backward(const Batch& batch, float loss_scale, const std::function<void()>& forward_done) {
    return model_.forward_backward(batch, memory(), loss_scale, 0.25F, {}, forward_done);
  }

 private:
  void write(DeviceSpan device, const std::vector<double>& host) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(device.bytes()));
    const DeviceSpan staging{bytes.data(), device.size, device.dtype};
    for (std::int64_t i = 0; i < device.size; ++i) store(staging, i, host[static_cast<std::size_t>(i)]);
    backend_.upload(bytes, device);
    backend_.synchronize();
  }

  std::vector<double> read(ConstDeviceSpan device) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(device.bytes()));
    backend_.download(device, bytes);
    backend_.synchronize();
    std::vector<double> host(static_cast<std::size_t>(device.size));
    for (std::int64_t i = 0; i < device.size; ++i)
      host[static_cast<std::size_t>(i)] = load(ConstDeviceSpan{bytes.data(), device.size, device.dtype}, i);
    return host;
  }

  Backend& backend_;
  Model model_;
  Buffer values_, compute_, gradients_;
  std::vector<double> host_values_;
};

}  // namespace ballast
