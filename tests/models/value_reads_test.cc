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
    if (now.empty()) {
      check_pass();
    } else {
      reads_.push_back({now.begin(), now.end()});
      announced_.push_back({next.begin(), next.end()});
    }
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
  [[nodiscard]] bool released() const { return reads_.empty(); }

 private:
  /// Every call has announced what the next few asked for, in their order, and nothing else.
  void check_pass() {
    for (std::size_t i = 0; i < reads_.size(); ++i) {
      Ranges next;
      for (std::size_t j = i + 1; j < std::min(i + 1 + kValuesAhead, reads_.size()); ++j) {
        next.insert(next.end(), reads_[j].begin(), reads_[j].end());
      }
      EXPECT_TRUE(std::ranges::equal(
          announced_[i], next,
          [](const ElementRange& x, const ElementRange& y) { return x.begin == y.begin && x.end == y.end; }))
          << "call " << i;
    }
    reads_.clear();
    announced_.clear();
  }

  ModelRun& run_;
  std::vector<double> all_;
  std::vector<Ranges> reads_, announced_;  ///< by call of the pass under way
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
