#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "launcher/commands/commands.h"
#include "launcher/find_checkpoint.h"
#include "launcher/number_text.h"
#include "launcher/reports.h"
#include "launcher/suggestion.h"
#include "launcher/table.h"

namespace ballast {
namespace {

bool shows_unicode() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string locale = value;
    std::transform(locale.begin(), locale.end(), locale.begin(), [](unsigned char c) { return std::tolower(c); });
    return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  return false;
}

bool chosen(const TensorSpec& spec, const InspectCommand& command) {
  if (spec.file == TensorFile::kOptimizer && !command.optimizer) return false;
  const std::string parameter = spec.name.substr(spec.name.find('/') + 1);  // of "m/blocks.0.ln_1.weight"
  const char* pattern = command.tensor.c_str();
  return fnmatch(pattern, spec.name.c_str(), 0) == 0 || fnmatch(pattern, parameter.c_str(), 0) == 0;
}

InspectReport inspect(const Checkpoint& checkpoint, const InspectCommand& command) {
  InspectReport report;
  report.checkpoint = checkpoint.directory();
  report.state = checkpoint.state();
  report.show_state = command.state;
  std::vector<std::string> names;
  for (int tensor = 0; const TensorSpec& spec : checkpoint.tensors()) {
    names.push_back(spec.name);
    if (chosen(spec, command)) {
      const auto read = [&](std::int64_t begin, std::span<float> out) {
        checkpoint.read(std::vector<HostPiece>{{tensor, begin, out}});
      };
      report.tensors.push_back({spec, summarise(spec.shape.elements(), read)});
    }
    ++tensor;
  }
  if (report.tensors.empty()) {
    const std::string near = suggestion(command.tensor, names);
    throw Error(
        "no tensor's name matches '" + command.tensor + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?"),
        ExitCode::kUsage);
  }
  return report;
}

void print_tensors(const InspectReport& report) {
  const bool unicode = shows_unicode();
  Table table("llrrrrrrl");
  table.add({"tensor", "shape", "dtype", "elements", "norm", "min", "max", "mean", "histogram"});
  std::int64_t elements = 0, not_finite = 0;
  double squares = 0.0;
  for (const auto& [spec, s] : report.tensors) {
    const std::string note = s.not_finite == 0 ? "" : "  " + count_text(s.not_finite) + " not finite";
    table.add({spec.name, spec.shape.to_string(), "f32", count_text(s.elements), short_number(s.norm),
               short_number(s.min), short_number(s.max), short_number(s.mean),
               '|' + histogram_text(s, unicode) + '|' + note});
    elements += s.elements;
    not_finite += s.not_finite;
    squares += s.norm * s.norm;
  }
  std::printf("%s, step %lld\n\n%s\n%zu tensors, %s elements, %s, norm %s\n", report.checkpoint.c_str(),
              static_cast<long long>(report.state.step), table.text().c_str(), report.tensors.size(),
              count_text(elements).c_str(), bytes_text(4.0 * static_cast<double>(elements)).c_str(),
              short_number(std::sqrt(squares)).c_str());
  if (not_finite > 0) std::printf("%s elements are not finite\n", count_text(not_finite).c_str());
}

void print_state(const TrainingState& state) {
  Table table("ll");
  table.add({"step", std::to_string(state.step)});
  table.add({"samples seen", count_text(state.samples_seen)});
  table.add({"seed", std::to_string(state.seed)});
  table.add({"shards", std::to_string(state.shards)});
  for (const auto& [name, number] : state.numbers) table.add({name, number_text(number)});
  for (const auto& [name, text] : state.texts) table.add({name, text});
  std::printf("\nTraining state\n%s\nJob file\n%s", table.text().c_str(), state.config.c_str());
}

}  // namespace

ExitCode run(const InspectCommand& command, Process&) {
  FileSystem& files = real_file_system();
  const Checkpoint checkpoint = Checkpoint::open(files, find_checkpoint(files, command.path));
  const InspectReport report = inspect(checkpoint, command);
  if (command.json) {
    std::fputs(to_json(report).c_str(), stdout);
    return ExitCode::kOk;
  }
  print_tensors(report);
  if (command.state) print_state(report.state);
  return ExitCode::kOk;
}

}  // namespace ballast
