// A training job in which the last worker goes astray in step 3, in the way that the first argument names; the second
// argument is watch.timeout in seconds. Run under mpirun by disagreement_test.cc.
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "comm/mpi_session.h"
#include "runtime/devices.h"
#include "runtime/supervision.h"
#include "runtime/training_parts.h"
#include "runtime/value_check.h"

namespace ballast {
namespace {

constexpr std::int64_t kBadStep = 3;

/// Makes the collective of step 3 in its own way, everything else as it is told.
class FaultyCommunicator final : public Communicator {
 public:
  FaultyCommunicator(Communicator& inner, FlightRecorder& recorder, std::string way)
      : inner_(inner), recorder_(recorder), way_(std::move(way)) {}

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] bool concurrent() const override { return inner_.concurrent(); }
  void begin_wait() override { inner_.begin_wait(); }
  void end_wait() override { inner_.end_wait(); }
  void barrier() override { inner_.barrier(); }
  void broadcast(std::span<std::byte> bytes, int root) override { inner_.broadcast(bytes, root); }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    inner_.all_reduce(values, reduction);
  }
  void all_reduce_disjoint(std::span<double> values) override {
    if (recorder_.step() == kBadStep) return go_astray(values);
    inner_.all_reduce_disjoint(values);
  }
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    return inner_.all_gather(mine);
  }
  [[nodiscard]] std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    return inner_.send(bytes, to, tag);
  }
  [[nodiscard]] std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    return inner_.receive(bytes, from, tag);
  }
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour) override { return inner_.split(colour); }
  [[nodiscard]] std::unique_ptr<Communicator> split_by_node() override { return inner_.split_by_node(); }
  [[nodiscard]] std::unique_ptr<SharedSegments> share(std::int64_t bytes, Filling filling) override {
    return inner_.share(bytes, filling);
  }

 private:
  void go_astray(std::span<double> values) {
    const bool last = rank() + 1 == size();
    std::int64_t word = 0;
    const auto bytes = std::as_writable_bytes(std::span(&word, 1));
    if (way_ == "reorders") {
      if (last) inner_.broadcast(bytes, 0);
      inner_.all_reduce_disjoint(values);
      if (!last) inner_.broadcast(bytes, 0);
      return;
    }
    if (!last) return inner_.all_reduce_disjoint(values);
    if (way_ == "skips") return;
    if (way_ == "sleeps") std::this_thread::sleep_for(std::chrono::hours(1));
    if (way_ == "smaller") return inner_.all_reduce_disjoint(values.subspan(1));
    if (way_ == "other-type") return inner_.all_reduce(std::span(&word, 1), Reduction::kSum);
    if (way_ == "other-call") return inner_.broadcast(bytes, 0);
    if (way_ == "larger") {
      std::vector<double> more(values.size() + 1000);
      return inner_.all_reduce_disjoint(more);
    }
    inner_.all_reduce_disjoint(values);
  }

  Communicator& inner_;
  FlightRecorder& recorder_;
  std::string way_;
};

JobConfig job(bool share_memory) {
  JobConfig config;
  config.model = {.name = "mlp", .features = 12, .hidden = {16}, .classes = 4};
  config.data = {.format = "synthetic", .samples = 64};
  config.batch = {.size = 12, .shards = 3};
  config.comm.share_memory = share_memory;
  config.job.steps = 5;
  return config;
}

void flip_a_bit(const TrainingParts& parts) {
  const Parameter& parameter = parts.model.parameters()[0];
  auto* byte = static_cast<std::uint8_t*>(parts.replica().reduction->values().subspan(parameter.offset + 2, 1).data);
  *byte = static_cast<std::uint8_t>(*byte ^ 1U);
}

void train(Communicator& plain, const std::string& way, double timeout, const std::string& folder) {
  Supervision supervision(plain, {.folder = folder, .timeout_seconds = timeout});
  FaultyCommunicator world(supervision.world(), supervision.recorder(), way);
  const bool share_memory = way != "flips" && way != "skips-apart";
  FaultyCommunicator apart(supervision.world(), supervision.recorder(), "skips");
  Communicator& chosen = way == "skips-apart" ? apart : world;

  const JobConfig config = job(share_memory);
  const JobLayout layout = layout_of(config, std::nullopt, world.size(), 1);
  TrainingParts parts(config, layout, chosen, make_backend({.name = "cpu", .threads = 1}));
  ValueCheck check(parts.model.parameters(), *parts.replica().reduction, *parts.backend, chosen, share_memory);
  parts.initialise(1);
  parts.clock.record_in(supervision.recorder());
  supervision.recorder().allow(1);
  StepTotals totals(layout.shards);
  for (std::int64_t step = 0; step < config.job.steps; ++step) {
    supervision.recorder().begin_step(step + 1);
    totals.clear();
    parts.replica().worker.compute_gradients(step, totals);
    if (way == "flips" && step + 1 == kBadStep && world.rank() + 1 == world.size()) flip_a_bit(parts);
    if (check.needed()) check.run(step + 1);
    static_cast<void>(parts.replica().coordinator.update(step + 1, totals, 0, false));
  }
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  ballast::MpiSession session(argc, argv);
  try {
    ballast::train(session.world(), argv[1], std::atof(argv[2]), argv[3]);
    return 0;
  } catch (const std::exception& error) {
    session.abort(error);
  }
}
