#include "models/planner/value_reads.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/zoo/zoo.h"
#include "tests/models/example_models.h"
#include "tests/support/model_run.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

using Ranges = std::vector<ElementRange>;

/// Values that are there while an operation has asked for them, and NaN otherwise. Checks what it is asked.
class FleetingValues {
 public:
  explicit FleetingValues(ModelRun& run) : run_(run), all_(run.values()) { release(); }

  void use(std::span<const ElementRange> now, std::span<const ElementRange> next) {
    EXPECT_TRUE(calls_ == 0 || begins_with(announced_, now)) << "call " << calls_ << " asks for what was not announced";
    EXPECT_TRUE(calls_ == 0 || now.empty() || begins_with(next, std::span(announced_).subspan(now.size())))
        << "call " << calls_ << " takes back what was announced";
    announced_.assign(next.begin(), next.end());
    most_announced_ = std::max(most_announced_, announced_.size());
    calls_ = now.empty() ? 0 : calls_ + 1;
    std::vector<double> values(all_.size(), std::nan(""));
    for (const ElementRange& range : now) {
      std::copy(all_.begin() + range.begin, all_.begin() + range.end, values.begin() + range.begin);
    }
    run_.set_values(values);
  }

  [[nodiscard]] ParameterMemory memory() {
    ParameterMemory memory = run_.memory();
    memory.use_values = [this](auto now, auto next) { use(now, next); };
    return memory;
  }
  void release() { use({}, {}); }
  [[nodiscard]] bool released() const { return calls_ == 0; }
  /// Ranges, at a time: one for each parameter.
  [[nodiscard]] std::size_t most_announced() const { return most_announced_; }

 private:
  static bool begins_with(std::span<const ElementRange> all, std::span<const ElementRange> some) {
    return some.size() <= all.size() &&
           std::ranges::equal(some, all.first(some.size()),
                              [](const auto& x, const auto& y) { return x.begin == y.begin && x.end == y.end; });
  }

  ModelRun& run_;
  std::vector<double> all_;
  Ranges announced_;
  std::size_t most_announced_ = 0;
  int calls_ = 0;  ///< of the pass under way
};

/// What the model makes of a batch in every kind of pass.
struct Results {
  std::vector<double> losses, gradients;
  std::vector<float> logits;
  bool operator==(const Results&) const = default;
};

Results run_all(ModelRun& run, const Batch& batch, const ParameterMemory& memory) {
  Results results;
  run.zero_gradients();
  results.losses.push_back(run.model().forward(batch, Mode::kEvaluate, memory).loss);
  results.logits.resize(static_cast<std::size_t>(run.model().input().classes));
  const std::vector<std::int64_t> row = {1};
  run.model().download_logits(row, results.logits);
  results.losses.push_back(run.model().forward(batch, Mode::kTrain, memory).loss);
  run.model().backward(batch, memory, 0.5F, 0.25F, {});
  results.losses.push_back(run.model().forward_backward(batch, memory, 0.5F, 0.25F, {}).loss);
  results.gradients = run.gradients();
  return results;
}

std::vector<ModelConfig> examples() {
  std::vector<ModelConfig> configs;
  for (const ModelConfig& config : {tiny_mlp(0.1F), tiny_convnet(), tiny_gpt(0.1F)}) {
    for (const char* recompute : {"none", "attention", "block"}) {
      configs.push_back(config);
      configs.back().recompute = recompute;
    }
  }
  return configs;
}

TEST(ValueReads, AreAllThatAPassReadsAndAreAnnouncedAhead) {
  for (const ModelConfig& config : examples()) {
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(config.name + ", recompute " + config.recompute);
      ReferenceBackend backend;
      ModelRun run(build_model(config, compute, 3), backend);
      const ExampleBatch data(run.model().input(), 3);
      const Results expected = run_all(run, data.all(), run.memory());
      FleetingValues values(run);
      const Results found = run_all(run, data.all(), values.memory());
      EXPECT_TRUE(values.released());
      EXPECT_GE(values.most_announced(), kValuesAhead);
      EXPECT_FALSE(std::isnan(expected.losses.front()));
      EXPECT_TRUE(found == expected);
    }
  }
}

TEST(ValueReads, LeaveOutTheTableOfAnEmbeddingInBackward) {
  InputSpec input;
  const Graph graph = build_graph(tiny_gpt(), DType::kF32, input);
  std::size_t embeddings = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (std::string(graph.nodes()[i].operation->kind()) != "embedding") continue;
    ++embeddings;
    EXPECT_EQ(ValueReads::forward(graph, i).size(), 2U);
    EXPECT_TRUE(ValueReads::backward(graph, i).empty());
  }
  EXPECT_EQ(embeddings, 1U);
}

}  // namespace
}  // namespace ballast
