#include "runtime/run_folder.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "compute/error.h"

namespace ballast {
namespace {

using Json = nlohmann::ordered_json;

std::int64_t step_of(const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) return -1;
  return json["step"].get<std::int64_t>();
}

// Byte length of the leading lines that are whole, sound and not after `last_step`.
std::uintmax_t sound_length(const std::string& path, std::int64_t last_step) {
  std::ifstream in(path, std::ios::binary);
  std::uintmax_t length = 0;
  for (std::string line; std::getline(in, line);) {
    const std::int64_t step = step_of(line);
    if (in.eof() || step < 0 || step > last_step) break;
    length += line.size() + 1;
  }
  return length;
}

std::ofstream open_append(const std::string& path) {
  std::ofstream out(path, std::ios::app);
  if (!out) throw Error(path + ": cannot be written: " + std::strerror(errno), ExitCode::kIo);
  return out;
}

void write_line(std::ofstream& out, const Json& json) { out << json.dump() << '\n' << std::flush; }

}  // namespace

RunFolder::RunFolder(const std::string& directory, const std::string& config_text, std::int64_t resumed_step) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw Error(directory + ": cannot make the run folder: " + error.message(), ExitCode::kIo);
  const std::string metrics = directory + "/metrics.jsonl";
  if (std::filesystem::exists(metrics))
    std::filesystem::resize_file(metrics, sound_length(metrics, resumed_step), error);
  if (error) throw Error(metrics + ": cannot be cut back: " + error.message(), ExitCode::kIo);
  metrics_ = open_append(metrics);
  log_ = open_append(directory + "/log");
  std::ofstream config(directory + "/config.toml", std::ios::trunc);
  config << config_text;
  if (!config.flush())
    throw Error(directory + "/config.toml: cannot be written: " + std::strerror(errno), ExitCode::kIo);
}

void RunFolder::record_step(const StepReport& report, double seconds) {
  Json phases = Json::object();
  for (std::size_t p = 0; p < report.phases.size(); ++p) phases[kPhaseNames[p]] = 1e3 * report.phases[p];
  write_line(metrics_, {{"event", "step"},
                        {"step", report.step},
                        {"loss", report.loss},
                        {"gradient_norm", report.gradient_norm},
                        {"lr", report.lr},
                        {std::string(report.item) + "_per_second", report.items_per_second},
                        {"matmul_share", report.matmul_share},
                        {"phases_ms", phases},
                        {"seconds", seconds}});
}

void RunFolder::record_evaluation(std::int64_t step, double loss, double accuracy, std::int64_t samples) {
  write_line(metrics_,
             {{"event", "evaluation"}, {"step", step}, {"loss", loss}, {"accuracy", accuracy}, {"samples", samples}});
}

void RunFolder::record_statistics(std::int64_t step, const std::vector<ParameterStatistics>& statistics,
                                  const ParameterTable& parameters) {
  Json layers = Json::object();
  for (const ParameterStatistics& s : statistics) {
    const double ratio = s.value_norm > 0 ? s.change_norm / s.value_norm : 0.0;
    layers[parameters[s.parameter].name] = {
        {"gradient_norm", s.gradient_norm}, {"weight_norm", s.value_norm}, {"update_ratio", ratio}};
  }
  write_line(metrics_, {{"event", "layers"}, {"step", step}, {"layers", layers}});
}

void RunFolder::record_checkpoint(const SaveResult& result) {
  Json json = {{"event", "checkpoint"},
               {"step", result.step},
               {"ok", result.ok},
               {"seconds", result.seconds},
               {"stall_seconds", result.stall_seconds},
               {"bytes", result.bytes}};
  if (!result.ok) json["message"] = result.message;
  write_line(metrics_, json);
}

void RunFolder::log(const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  std::array<char, 32> text = {};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ ", &utc);
  log_ << text.data() << line << '\n' << std::flush;
}

}  // namespace ballast
