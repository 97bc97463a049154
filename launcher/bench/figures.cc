#include "launcher/bench/figures.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <numeric>
#include <sstream>

#include "compute/error.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

std::vector<std::string> split_at(const std::string& text, char border) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, border);) parts.push_back(part);
  return parts;
}

/// A positive whole number below 2^40, or 0 for anything else.
std::int64_t positive(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  return whole && value > 0 && value < std::int64_t{1} << 40 ? value : 0;
}

std::int64_t bytes_named(const std::string& text) {
  static const std::string kUnits = "KMG";
  const std::size_t unit = text.empty() ? std::string::npos : kUnits.find(text.back());
  if (unit == std::string::npos) return positive(text);
  return positive(text.substr(0, text.size() - 1)) << (10 * (unit + 1));
}

}  // namespace

Spread spread_of(std::vector<double> numbers) {
  require(!numbers.empty(), "spread_of: no numbers");
  std::sort(numbers.begin(), numbers.end());
  const std::size_t half = numbers.size() / 2;
  const double median = numbers.size() % 2 == 1 ? numbers[half] : (numbers[half - 1] + numbers[half]) / 2;
  return {median, numbers.front(), numbers.back()};
}

double Rates::sum() const { return std::accumulate(per_worker.begin(), per_worker.end(), 0.0); }

Rates rates_of(Communicator& world, double amount, const std::vector<double>& seconds) {
  const Spread mine = spread_of(seconds);
  const std::vector<double> slowest = gather_numbers(world, mine.high);
  const std::vector<double> fastest = gather_numbers(world, mine.low);
  Rates rates;
  for (const double median : gather_numbers(world, mine.median)) rates.per_worker.push_back(amount / median);
  rates.low = amount / *std::max_element(slowest.begin(), slowest.end());
  rates.high = amount / *std::min_element(fastest.begin(), fastest.end());
  return rates;
}

std::string fixed_number(double value, int decimals) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

std::vector<std::string> rate_columns(const Rates& rates) {
  const auto giga = [](double value) { return fixed_number(value / 1e9, 1); };
  return {giga(rates.mean()), giga(rates.low) + ".." + giga(rates.high), giga(rates.sum())};
}

nlohmann::ordered_json site_json(const std::string& name, const BenchSite& site) {
  return {{"bench", name},
          {"workers", site.world.size()},
          {"threads", site.backend.threads()},
          {"backend", site.backend.description()}};
}

nlohmann::ordered_json rates_json(const Rates& rates) {
  return {{"per_worker", rates.per_worker}, {"low", rates.low}, {"high", rates.high}, {"sum", rates.sum()}};
}

std::string site_text(const BenchSite& site) {
  const int workers = site.world.size();
  return std::to_string(workers) + (workers == 1 ? " worker, " : " workers, each ") + site.backend.description() + '\n';
}

std::vector<LayerShape> shapes_named(const std::string& text) {
  std::vector<LayerShape> shapes;
  for (const std::string& part : split_at(text, ',')) {
    const std::vector<std::string> edges = split_at(part, 'x');
    LayerShape shape;
    if (edges.size() == 3) shape = {positive(edges[0]), positive(edges[1]), positive(edges[2])};
    if (shape.m == 0 || shape.n == 0 || shape.k == 0) {
      throw Error("bench: --shapes: '" + part + "' is not MxNxK, for example 1024x3072x768", ExitCode::kUsage);
    }
    shapes.push_back(shape);
  }
  return shapes;
}

std::vector<std::int64_t> sizes_named(const std::string& text) {
  std::vector<std::int64_t> sizes;
  for (const std::string& part : split_at(text, ',')) {
    const std::int64_t bytes = part == "gpt2" ? kGpt2Size : bytes_named(part);
    if (bytes != kGpt2Size && (bytes <= 0 || bytes % 4 != 0 || bytes > std::int64_t{1} << 40)) {
      throw Error("bench: --sizes: '" + part +
                      "' is not a number of bytes that 4 divides, for example 8, 64K or 1G, and not gpt2",
                  ExitCode::kUsage);
    }
    sizes.push_back(bytes);
  }
  return sizes;
}

std::vector<DType> precisions_named(const std::string& text) {
  if (text == "both") return {DType::kF32, DType::kBF16};
  if (text == "f32" || text == "bf16") return {dtype_named(text)};
  throw Error("bench: --precision: '" + text + "' is not f32, bf16 or both", ExitCode::kUsage);
}

}  // namespace ballast
