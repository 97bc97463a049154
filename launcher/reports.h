// Defines: what eval, inspect, verify, plan and doctor found, as plain values, and its form as JSON (docs/json.md).
// Wraps nlohmann-json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "compute/devices.h"
#include "launcher/plan/forecast.h"
#include "launcher/tensor_summary.h"

namespace ballast {

struct EvalReport {
  std::string checkpoint;
  std::int64_t step = 0;
  double loss = 0.0, accuracy = 0.0;
  std::int64_t samples = 0;
};

struct InspectReport {
  struct Tensor {
    TensorSpec spec;
    TensorSummary summary;
  };
  std::string checkpoint;
  TrainingState state;
  std::vector<Tensor> tensors;
  bool show_state = false;
};

struct VerifyReport {
  std::string checkpoint;
  bool ok = false;
  std::string error;  ///< why not
  std::optional<std::int64_t> step;
  std::string digest;  ///< of the weights
  std::int64_t tensors = 0, bytes = 0;
  std::vector<std::pair<std::string, std::int64_t>> files;  ///< name, bytes
};

struct PlanReport {
  std::string model;
  std::int64_t workers = 1, shards = 1, micro = 1;
  std::int64_t parameters = 0, tensors = 0;
  double flops_per_step = 0.0;
  MemoryUse memory;              ///< of the busiest worker
  std::int64_t node_memory = 0;  ///< bytes of a node with all its workers
  bool values_shared = false;    ///< the node's workers have one copy of the values between them
  std::int64_t wire_bytes = 0;   ///< sent per step by the busiest worker, were each on a node of its own
  std::int64_t checkpoint_bytes = 0;
  std::string operations;
  std::optional<Forecast> forecast;  ///< where a cluster is described
};

struct DoctorReport {
  struct Worker {
    std::string host;
    int cores = 0;       ///< that it may use
    std::string device;  ///< "0: NVIDIA H100 80GB HBM3"; empty: none for it
  };
  std::string version, mpi;
  std::string cpu;                                     ///< of rank 0: description of its cpu backend
  std::int64_t memory_bytes = 0, available_bytes = 0;  ///< of rank 0's node
  std::vector<Worker> workers;                         ///< by rank
  std::string plugins;                                 ///< folder
  DeviceReport devices;                                ///< of rank 0's node
  std::string transport, transport_problem;            ///< "NCCL 2.28.9"; why there is none
  std::string backend;                                 ///< what a job computes on; empty: it would fail
  std::string backend_note;                            ///< why, or what to know about the choice
};

/// One line each, with a newline.
[[nodiscard]] std::string to_json(const EvalReport& report);
[[nodiscard]] std::string to_json(const InspectReport& report);
[[nodiscard]] std::string to_json(const VerifyReport& report);
[[nodiscard]] std::string to_json(const PlanReport& report);
[[nodiscard]] std::string to_json(const DoctorReport& report);

}  // namespace ballast
