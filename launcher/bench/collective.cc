// Implements bench_collective: reduction, clipping and update, as training does them and as MPI's all-reduce would.
//
// Words of nccl-tests: algorithm bandwidth = bytes of the gradient / time; bus bandwidth = that times 2 (n - 1) / n,
// the bytes that must cross n workers' borders. Here the time also holds norm, clipping and AdamW.
//
// The roof is what memory allows on one node. Per f32 element and step, with n > 1 workers: the reduction reads n
// gradients and writes the sum (4 n + 4); the update cannot start before the norm over all sums is known, so the sum is
// read again, with value, m and v, and these three are written (28). Alone: the norm reads the gradient (4), the update
// moves 28. The norm itself adds nothing where the sums are squared while they are in a cache.
#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>

#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/bench/reduction.h"
#include "launcher/number_text.h"
#include "launcher/table.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

constexpr const char* kSizes = "8,1K,32K,1M,16M,256M,gpt2";
constexpr std::int64_t kLeastBytesForRoof = 64 << 20;  ///< below, caches help and the roof of memory says nothing
constexpr std::int64_t kProbeElements = 16 << 20;

/// Seconds of each repetition, of the slowest worker: equal on every worker.
std::vector<double> slowest(Communicator& world, const std::vector<double>& mine) {
  std::vector<double> all(mine.size(), 0.0);
  for (const std::vector<std::byte>& bytes : world.all_gather(std::as_bytes(std::span(mine)))) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      double seconds = 0.0;
      std::memcpy(&seconds, bytes.data() + i * sizeof(double), sizeof(double));
      all[i] = std::max(all[i], seconds);
    }
  }
  return all;
}

double timed(Communicator& world, const std::function<void()>& work) {
  world.barrier();
  const Clock clock;
  work();
  return clock.seconds();
}

/// The speed of memory, again after every repetition: on a machine that others use as well it changes from second to
/// second.
class Probe {
 public:
  explicit Probe(BenchSite& site)
      : site_(site),
        a_(filled(site.backend, kProbeElements, DType::kF32)),
        b_(filled(site.backend, kProbeElements, DType::kF32)) {}
  void run() { site_.backend.add(a_.span(), b_.span(), a_.span()); }
  /// Of all workers, each as fast as one that needs `seconds` for run().
  [[nodiscard]] double bytes_per_second(double seconds) const {
    return 3.0 * static_cast<double>(a_.span().bytes()) * site_.world.size() / seconds;
  }

 private:
  BenchSite& site_;
  Buffer a_, b_;
};

/// By repetition, of the slowest worker; equal on every worker.
struct Times {
  std::vector<double> step, probe;
};

/// About `seconds` long, gradients made outside the clock. `probe` may be null.
Times time_step(ReductionStep& step, Probe* probe, double seconds, Communicator& world) {
  constexpr double kMost = 2000;
  Times mine;
  const auto repeat = [&] {
    step.fill();
    mine.step.push_back(timed(world, [&] { step.run(); }));
    if (probe != nullptr) mine.probe.push_back(timed(world, [&] { probe->run(); }));
  };
  repeat();
  const Clock clock;
  repeat();
  const std::vector<double> second = gather_numbers(world, clock.seconds());
  const double longest = *std::max_element(second.begin(), second.end());
  const auto repetitions = static_cast<int>(std::clamp(seconds / longest, 3.0, kMost));
  mine = {};
  for (int i = 0; i < repetitions; ++i) repeat();
  return {slowest(world, mine.step), slowest(world, mine.probe)};
}

struct Row {
  std::string name;
  std::int64_t bytes = 0;  ///< of the gradient
  Spread ordered, unordered;
  double memory_bytes = 0.0;  ///< bytes a second of all workers, median; 0: no roof
  double roof_bytes = 0.0, roof_seconds = 0.0;
  double of_roof = 0.0;  ///< median of the repetitions' time by the roof of that moment
};

double roof_bytes(std::int64_t elements, int workers) {
  return static_cast<double>(elements) * (workers > 1 ? 4.0 * workers + 4.0 + 28.0 : 32.0);
}

bool on_one_node(Communicator& world) { return world.split_by_node()->size() == world.size(); }

void add_roof(Row& row, const Times& times, const Probe& probe, double bytes) {
  std::vector<double> speeds, ratios;
  for (std::size_t i = 0; i < times.step.size(); ++i) {
    speeds.push_back(probe.bytes_per_second(times.probe[i]));
    ratios.push_back(times.step[i] / (bytes / speeds.back()));
  }
  row.memory_bytes = spread_of(speeds).median;
  row.roof_bytes = bytes;
  row.roof_seconds = bytes / row.memory_bytes;
  row.of_roof = spread_of(ratios).median;
}

Row measure(std::int64_t bytes, double seconds, BenchSite& site) {
  const ParameterTable parameters = bytes == kGpt2Size ? gpt2_parameters() : flat_parameters(bytes / 4);
  const std::int64_t elements = parameters.trained_elements();
  Row row{.name = bytes == kGpt2Size ? "gpt2" : "flat", .bytes = 4 * elements, .ordered = {}, .unordered = {}};
  std::optional<Probe> probe;
  if (row.bytes >= kLeastBytesForRoof && on_one_node(site.world)) probe.emplace(site);
  {
    const auto step = ordered_step(parameters, DType::kF32, site.world, site.backend);
    const Times times = time_step(*step, probe ? &*probe : nullptr, seconds / 2, site.world);
    row.ordered = spread_of(times.step);
    if (probe) add_roof(row, times, *probe, roof_bytes(elements, site.world.size()));
  }
  const auto step = unordered_step(elements, site.backend);
  row.unordered = spread_of(time_step(*step, nullptr, seconds / 2, site.world).step);
  return row;
}

double bus_factor(int workers) { return 2.0 * (workers - 1) / workers; }

std::string milliseconds(double seconds) { return fixed_number(seconds * 1e3, seconds < 1e-2 ? 3 : 1); }

std::vector<std::string> columns_of(const Row& row, int workers) {
  const auto bandwidth = [&](const Spread& spread) {
    return fixed_number(static_cast<double>(row.bytes) / spread.median / 1e9, 2);
  };
  const double bus = static_cast<double>(row.bytes) / row.ordered.median * bus_factor(workers);
  const bool roof = row.roof_seconds > 0;
  return {row.name,
          bytes_text(static_cast<double>(row.bytes)),
          milliseconds(row.ordered.median),
          milliseconds(row.ordered.low) + ".." + milliseconds(row.ordered.high),
          bandwidth(row.ordered),
          fixed_number(bus / 1e9, 2),
          milliseconds(row.unordered.median),
          bandwidth(row.unordered),
          fixed_number(row.unordered.median / row.ordered.median, 2),
          roof ? milliseconds(row.roof_seconds) : "",
          roof ? fixed_number(row.of_roof, 2) : ""};
}

nlohmann::ordered_json json_of(const Row& row, int workers) {
  const auto side = [&](const Spread& spread) {
    const double bandwidth = static_cast<double>(row.bytes) / spread.median;
    return nlohmann::ordered_json{{"seconds", spread.median},
                                  {"low", spread.low},
                                  {"high", spread.high},
                                  {"algorithm_bandwidth", bandwidth},
                                  {"bus_bandwidth", bandwidth * bus_factor(workers)}};
  };
  nlohmann::ordered_json json = {
      {"name", row.name}, {"bytes", row.bytes}, {"ballast", side(row.ordered)}, {"mpi", side(row.unordered)}};
  json["roof"] = nullptr;
  if (row.roof_seconds > 0) {
    json["roof"] = {{"bytes", row.roof_bytes},
                    {"bytes_per_second", row.memory_bytes},
                    {"seconds", row.roof_seconds},
                    {"ratio", row.of_roof}};
  }
  return json;
}

}  // namespace

ExitCode bench_collective(const BenchCommand& command, Process& process) {
  const std::vector<std::int64_t> sizes = sizes_named(command.sizes.empty() ? kSizes : command.sizes);
  return run_on_workers(command, process, [&](BenchSite& site) {
    const int workers = site.world.size();
    Table table("lrrrrrrrrrr");
    table.add({"gradient", "bytes", "ms", "lowest..highest", "GB/s", "bus GB/s", "MPI ms", "MPI GB/s", "MPI / ours",
               "roof ms", "of the roof"});
    nlohmann::ordered_json json = site_json("collective", site);
    json["rows"] = nlohmann::ordered_json::array();
    for (const std::int64_t bytes : sizes) {
      const Row row = measure(bytes, command.seconds / static_cast<double>(sizes.size()), site);
      table.add(columns_of(row, workers));
      json["rows"].push_back(json_of(row, workers));
    }
    return BenchText{site_text(site) + table.text(), json.dump() + '\n'};
  });
}

}  // namespace ballast
