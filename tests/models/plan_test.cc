// Random graphs: the plan keeps live tensors apart, and running in that plan gives the right gradients.
#include "models/planner/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "models/planned_graph.h"
#include "tests/support/gradient_check.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

constexpr std::int64_t kWidth = 3;
const Initializer kNormal{Initializer::Kind::kNormal, 0.5F, 0, 0};
const InputSpec kInput{.kind = InputSpec::Kind::kFeatures, .sample = {kWidth}, .targets_per_sample = 1, .classes = 3};

Value random_operation(Graph& g, std::mt19937& random, const std::vector<Value>& values, int number) {
  const auto pick = [&] { return values[random() % values.size()]; };
  const std::string name = "op" + std::to_string(number);
  switch (random() % 8) {
    case 0:
      return g.relu(pick());
    case 1:
      return g.gelu(pick());
    case 2:
      return g.dropout(pick(), 0.25F);
    case 3:
      return g.linear(pick(), kWidth, name, kNormal);
    case 4:
      return g.layer_norm(pick(), name);
    case 5:
      return g.linear_gelu(pick(), kWidth, name, kNormal);
    default:
      return g.add(pick(), pick());
  }
}

/// Values are read any number of times, by later operations or by the sum at the end. `segments`: runs of one to five
/// operations are run again in backward.
Graph random_graph(unsigned seed, int operations, bool segments = false) {
  std::mt19937 random(seed);
  std::mt19937 lengths(seed + 1);  // of its own, so that the operations do not depend on the segments
  Graph g(DType::kF64);
  std::vector<Value> values = {g.linear(g.features({kWidth}), kWidth, "first", kNormal)};
  for (int i = 0; i < operations;) {
    const Segment segment(g, segments && lengths() % 4 != 0);
    const int end = std::min(operations, i + 1 + static_cast<int>(lengths() % 5));
    for (; i < end; ++i) values.push_back(random_operation(g, random, values, i));
  }
  Value sum = values.back();
  for (const Value v : values) {
    if (g.info(v).readers.empty() && v.index != sum.index) sum = g.add(sum, v);
  }
  // A norm keeps the logits of long chains of additions moderate.
  g.cross_entropy(g.linear(g.layer_norm(sum, "norm"), 3, "last", kNormal), g.targets(1));
  return g;
}

TEST(Plan, KeepsTensorsThatLiveTogetherApart) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    const Graph graph = random_graph(seed, 5 + static_cast<int>(seed % 25), seed % 2 == 0);
    const Plan plan = make_plan(graph, 37);
    std::int64_t end = 0;
    for (std::size_t i = 0; i < plan.storages.size(); ++i) {
      const Storage& a = plan.storages[i];
      EXPECT_LE(a.first, a.last);
      end = std::max(end, a.offset + (a.bytes + 63) / 64 * 64);
      for (std::size_t j = 0; j < i; ++j) {
        const Storage& b = plan.storages[j];
        const bool together = a.first <= b.last && b.first <= a.last;
        const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
        EXPECT_TRUE(!together || apart) << "graph " << seed << ": storages " << i << " and " << j;
      }
    }
    EXPECT_EQ(plan.arena_bytes, end);
  }
}

TEST(Plan, LetsValuesLiveUntilTheirLastReader) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    const Graph graph = random_graph(seed, 20);
    const Plan plan = make_plan(graph, 2);
    const int n = static_cast<int>(graph.nodes().size());
    for (int i = 0; i < n; ++i) {
      const Node& node = graph.nodes()[static_cast<std::size_t>(i)];
      const int time = node.traits.keeps_inputs ? 2 * n - 1 - i : i;
      for (const int x : node.inputs) {
        EXPECT_GE(plan.storages[static_cast<std::size_t>(plan.value_storage[static_cast<std::size_t>(x)])].last, time);
      }
    }
  }
}

TEST(Plan, NeverAccumulatesIntoTheGradientThatTheOperationReads) {
  Graph g(DType::kF32);
  const Value x = g.linear(g.features({64}), 64, "first", kNormal);
  // The norm's output and input get one gradient, in one storage, before the norm runs backward.
  g.cross_entropy(g.linear(g.add(g.layer_norm(x, "norm"), x), 3, "last", kNormal), g.targets(1));
  const NodePlan norm = make_plan(g, 8).nodes[2];
  EXPECT_FALSE(norm.routes[0].accumulate);
  EXPECT_NE(norm.routes[0].target, norm.output_gradient);
}

TEST(Plan, GivesTheGradientsOfRandomGraphs) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    ReferenceBackend backend;
    Graph graph = random_graph(seed, 4 + static_cast<int>(seed % 12), seed % 2 == 0);
    Model model(std::make_unique<PlannedGraph>(std::move(graph), 3), kInput);
    ModelRun run(std::move(model), backend);
    randomise_values(run, seed, 0.2);
    SCOPED_TRACE("graph " + std::to_string(seed));
    expect_gradients_match(run, ExampleBatch(kInput, 2, seed).all(), 4);
  }
}

TEST(Plan, SegmentsChangeNoBitOfTheGradients) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::vector<std::vector<double>> gradients;
    for (const bool segments : {false, true}) {
      ReferenceBackend backend;
      Model model(std::make_unique<PlannedGraph>(random_graph(seed, 20, segments), 3), kInput);
      ModelRun run(std::move(model), backend);
      randomise_values(run, seed, 0.2);
      const ExampleBatch batch(kInput, 2, seed);
      run.forward(batch.all());
      run.backward(batch.all(), 0.5F);
      gradients.push_back(run.gradients());
    }
    EXPECT_EQ(gradients[0], gradients[1]) << "graph " << seed;
  }
}

TEST(Plan, KeepsOnlyTheBordersOfSegments) {
  const auto arena = [](bool recompute) {
    Graph g(DType::kF32);
    Value x = g.linear(g.features({64}), 64, "first", kNormal);
    for (int i = 0; i < 16; ++i) {
      const Segment segment(g, recompute);
      const std::string n = std::to_string(i);
      const Value wide = g.linear_gelu(g.layer_norm(x, "norm" + n), 256, "up" + n, kNormal);
      x = g.add(x, g.linear(wide, 64, "down" + n, kNormal));
    }
    g.cross_entropy(g.linear(x, 3, "last", kNormal), g.targets(1));
    return make_plan(g, 64).arena_bytes;
  };
  EXPECT_LT(arena(true), arena(false) / 4);
}

TEST(Plan, PassesTheGradientOfAResidualStreamWithoutCopies) {
  Graph g(DType::kF32);
  Value x = g.linear(g.features({64}), 64, "first", kNormal);
  for (int i = 0; i < 4; ++i) {
    const std::string n = std::to_string(i);
    x = g.add(x, g.linear(g.layer_norm(x, "norm" + n), 64, "branch" + n, kNormal));
  }
  g.cross_entropy(g.linear(x, 3, "last", kNormal), g.targets(1));
  const Plan plan = make_plan(g, 8);
  for (const NodePlan& node : plan.nodes) {
    for (const GradientRoute& route : node.routes)
      EXPECT_EQ(route.sum, -1) << "an addition that layer_norm could have done";
  }
}

TEST(Plan, RunsActivationsInPlace) {
  Graph g(DType::kF32);
  const Value x = g.linear(g.features({64}), 64, "first", kNormal);
  const Value y = g.relu(x);
  g.cross_entropy(g.linear(y, 3, "last", kNormal), g.targets(1));
  const Plan plan = make_plan(g, 8);
  EXPECT_EQ(plan.value_storage[static_cast<std::size_t>(x.index)],
            plan.value_storage[static_cast<std::size_t>(y.index)]);
  EXPECT_EQ(plan.nodes[2].routes[0].target, plan.nodes[2].output_gradient);
}

TEST(Plan, OverwritesLogitsWithTheirGradient) {
  Graph g(DType::kF32);
  const Value logits = g.linear(g.features({64}), 3, "last", kNormal);
  g.cross_entropy(logits, g.targets(1));
  const Plan plan = make_plan(g, 8);
  EXPECT_EQ(plan.nodes[2].routes[0].target, plan.value_storage[static_cast<std::size_t>(logits.index)]);
}

TEST(Plan, RefusesGraphsThatAreNotWhole) {
  Graph open(DType::kF32);
  open.linear(open.features({2}), 2, "a", kNormal);
  EXPECT_THROW(make_plan(open, 1), Error);
  Graph idle(DType::kF32);
  const Value x = idle.linear(idle.features({2}), 2, "a", kNormal);
  idle.linear(x, 2, "unread", kNormal);
  idle.cross_entropy(x, idle.targets(1));
  EXPECT_THROW(make_plan(idle, 1), Error);
  EXPECT_THROW(make_plan(random_graph(1, 3), 0), Error);
}

}  // namespace
}  // namespace ballast
