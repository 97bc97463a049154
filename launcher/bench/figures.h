// Defines: Spread, spread_of, Rates, rates_of, giga, site_json, and the readers of --shapes, --sizes and --precision.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "compute/tensor.h"
#include "launcher/bench/bench.h"

namespace ballast {

struct Spread {
  double median = 0.0, low = 0.0, high = 0.0;
};
/// Of at least one number.
[[nodiscard]] Spread spread_of(std::vector<double> numbers);

/// Something a second, while all workers were at it.
struct Rates {
  std::vector<double> per_worker;  ///< medians, by rank
  double low = 0.0, high = 0.0;    ///< of all repetitions of all workers

  [[nodiscard]] double sum() const;
  [[nodiscard]] double mean() const { return sum() / static_cast<double>(per_worker.size()); }
};
/// Collective; equal on every worker. `amount` of work was done in each of my `seconds`.
[[nodiscard]] Rates rates_of(Communicator& world, double amount, const std::vector<double>& seconds);

/// "mean of the workers, low..high, sum", in 1e9: three columns of a table, each for one worker but the sum.
[[nodiscard]] std::vector<std::string> rate_columns(const Rates& rates);
[[nodiscard]] std::string fixed_number(double value, int decimals);

/// {"bench": name, "workers": ..., "threads": ..., "backend": ...}: how every object begins.
[[nodiscard]] nlohmann::ordered_json site_json(const std::string& name, const BenchSite& site);
/// {"per_worker": [...], "low": ..., "high": ..., "sum": ...}
[[nodiscard]] nlohmann::ordered_json rates_json(const Rates& rates);
[[nodiscard]] std::string site_text(const BenchSite& site);

/// A layer: m samples or positions, n outputs, k inputs.
struct LayerShape {
  std::int64_t m = 0, n = 0, k = 0;
  bool operator==(const LayerShape&) const = default;
};
/// "1024x3072x768,64x10x784". Throws Error(kUsage) naming the part that is wrong.
[[nodiscard]] std::vector<LayerShape> shapes_named(const std::string& text);
/// Stands for the parameters of GPT-2 among sizes.
constexpr std::int64_t kGpt2Size = -1;
/// Bytes: "8,64K,1G,gpt2", K = 1024 and so on. Throws Error(kUsage) for what is not a multiple of 4 up to 1 TiB.
[[nodiscard]] std::vector<std::int64_t> sizes_named(const std::string& text);
/// "f32", "bf16" or "both".
[[nodiscard]] std::vector<DType> precisions_named(const std::string& text);

}  // namespace ballast
