#include "launcher/reports.h"

#include "launcher/plan/forecast_json.h"

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
  Json memory = {{"values_shared", report.values_shared}};
  for (const MemoryPurpose& purpose : memory_purposes()) memory[purpose.key] = report.memory.*purpose.bytes;
  memory["total"] = report.memory.total();
  Json json = {{"model", report.model},
               {"workers", report.workers},
               {"shards", report.shards},
               {"micro", report.micro},
               {"parameters", report.parameters},
               {"tensors", report.tensors},
               {"flops_per_step", report.flops_per_step},
               {"memory_bytes", memory},
               {"wire_bytes_per_step", report.wire_bytes},
               {"checkpoint_bytes", report.checkpoint_bytes}};
  if (report.forecast) json["forecast"] = forecast_json(*report.forecast);
  return line(json);
}

std::string to_json(const DoctorReport& report) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  Json workers = Json::array(), devices = Json::array();
  for (const DoctorReport::Worker& worker : report.workers) {
    workers.push_back({{"host", worker.host}, {"cores", worker.cores}, {"device", text_or_null(worker.device)}});
  }
  for (const Device& device : report.devices.devices) {
    devices.push_back({{"name", device.name},
                       {"compute_capability", device.compute_capability},
                       {"memory_bytes", device.memory_bytes},
                       {"processors", device.processors},
                       {"peer_access", device.peer_access}});
  }
  return line({{"version", report.version},
               {"mpi", report.mpi},
               {"cpu", report.cpu},
               {"memory_bytes", report.memory_bytes},
               {"available_bytes", report.available_bytes},
               {"workers", workers},
               {"backend", text_or_null(report.backend)},
               {"backend_note", text_or_null(report.backend_note)},
               {"plugins", report.plugins},
               {"devices", devices},
               {"driver", text_or_null(report.devices.driver)},
               {"toolkit", text_or_null(report.devices.toolkit)},
               {"library", text_or_null(report.devices.library)},
               {"devices_problem", text_or_null(report.devices.problem)},
               {"transport", text_or_null(report.transport)},
               {"transport_problem", text_or_null(report.transport_problem)}});
}

}  // namespace ballast
