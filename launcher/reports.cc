#include "launcher/reports.h"

#include <nlohmann/json.hpp>

namespace ballast {
namespace {

using Json = nlohmann::ordered_json;

// Paths may hold bytes that are not UTF-8; a report with a replaced character is better than none.
std::string line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n'; }

const char* file_of(const TensorSpec& spec) {
  return spec.file == TensorFile::kWeights ? "weights.h5" : "optimizer.h5";
}

Json state_json(const TrainingState& state) {
  return {{"step", state.step},     {"samples_seen", state.samples_seen}, {"seed", state.seed},
          {"shards", state.shards}, {"numbers", state.numbers},           {"texts", state.texts},
          {"config", state.config}};
}

}  // namespace

std::string to_json(const EvalReport& report) {
  return line({{"checkpoint", report.checkpoint},
               {"step", report.step},
               {"loss", report.loss},
               {"accuracy", report.accuracy},
               {"samples", report.samples}});
}

std::string to_json(const InspectReport& report) {
  Json tensors = Json::array();
  for (const InspectReport::Tensor& tensor : report.tensors) {
    const TensorSummary& s = tensor.summary;
    tensors.push_back({{"name", tensor.spec.name},
                       {"file", file_of(tensor.spec)},
                       {"shape", tensor.spec.shape.dims()},
                       {"dtype", "f32"},
                       {"elements", s.elements},
                       {"not_finite", s.not_finite},
                       {"norm", s.norm},
                       {"min", s.min},
                       {"max", s.max},
                       {"mean", s.mean},
                       {"histogram", s.histogram}});
  }
  Json json = {{"checkpoint", report.checkpoint}, {"step", report.state.step}, {"tensors", tensors}};
  if (report.show_state) json["state"] = state_json(report.state);
  return line(json);
}

std::string to_json(const VerifyReport& report) {
  Json json = {{"ok", report.ok}, {"checkpoint", report.checkpoint}, {"step", nullptr}};
  if (report.step) json["step"] = *report.step;
  if (!report.ok) {
    json["error"] = report.error;
    return line(json);
  }
  json["digest"] = report.digest;
  json["tensors"] = report.tensors;
  json["bytes"] = report.bytes;
  json["files"] = Json::object();
  for (const auto& [name, bytes] : report.files) json["files"][name] = bytes;
  return line(json);
}

std::string to_json(const PlanReport& report) {
  return line({{"model", report.model},
               {"workers", report.workers},
               {"shards", report.shards},
               {"micro", report.micro},
               {"parameters", report.parameters},
               {"tensors", report.tensors},
               {"flops_per_step", report.flops_per_step},
               {"memory_bytes",
                {{"values", report.values},
                 {"values_shared", report.values_shared},
                 {"gradients", report.gradients},
                 {"optimizer", report.optimizer},
                 {"activations", report.activations},
                 {"snapshot", report.snapshot},
                 {"total", report.memory()}}},
               {"wire_bytes_per_step", report.wire_bytes},
               {"checkpoint_bytes", report.checkpoint_bytes}});
}

}  // namespace ballast
