// Defines: JobConfig and its sections: a job, as plain values with their defaults. The launcher fills it from a job
// file; its schema table (launcher/schema.cc) gives every key its range, unit and help.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "models/model_config.h"

namespace ballast {

struct JobSection {
  std::string dir = "runs/default";  ///< the run folder
  std::int64_t seed = 1;
  std::int64_t steps = 0;  ///< 0: use epochs
  double epochs = 0.0;     ///< 0: use steps
  std::string resume =
      "auto";               ///< "auto": newest checkpoint of the run folder, if any | "never" | path of a checkpoint
  double stop_after = 0.0;  ///< seconds of wall time, then checkpoint and exit 75; 0: never
};

struct DataSection {
  std::string format = "synthetic";  ///< "text" | "tokens" | "idx" | "synthetic"
  std::string train;                 ///< path of a file; for tokens and text also a folder, or a pattern with * and ?
  std::string validation;            ///< the same, or "" to split `fraction` off the end of train
  double fraction = 0.1;
  std::string train_labels, validation_labels;  ///< idx: absent = found beside the images
  bool shuffle = true;
  std::int64_t chunk = 0;       ///< neighbouring samples that stay together when shuffled; 0: every sample on its own
  std::int64_t samples = 4096;  ///< synthetic only
};

struct BatchSection {
  std::int64_t size = 64;  ///< samples per step, all workers together
  std::int64_t shards =
      0;                   ///< 0: workers of the first start, rounded up to a power of two, then kept by the checkpoint
  std::int64_t micro = 0;  ///< samples per micro-batch; 0: whole shard
};

struct OptimizerSection {
  std::string name = "adamw";  ///< "sgd" | "adagrad" | "rmsprop" | "adam" | "adamw"
  double lr = 1e-3;
  double weight_decay = 0.0;                  ///< decoupled
  std::array<double, 2> betas = {0.9, 0.95};  ///< adam, adamw
  double momentum = 0.0;                      ///< sgd
  bool nesterov = false;                      ///< sgd
  double decay = 0.99;                        ///< rmsprop: of the squared-gradient average
  double epsilon = 1e-8;
  double clip = 0.0;  ///< largest global gradient norm; 0: no clipping
  double l1 = 0.0, l2 = 0.0;
};

/// Low-communication training: every group of shards trains its own copy of the weights.
struct OuterSection {
  std::int64_t every = 0;  ///< steps between exchanges; 0: all groups train one copy together
  double lr = 0.7;         ///< of the update by the averaged differences
  double momentum = 0.9;
  bool nesterov = true;
  std::int64_t fragments = 1;  ///< parts of the weights that are exchanged at different steps
  std::int64_t delay = 0;      ///< steps that an exchange has before its outcome is used
  double merge = 1.0;          ///< share of the outcome in a group's weights
};

struct ScheduleSection {
  std::string name = "constant";  ///< "constant" | "step" | "cosine"; all with warm-up
  std::int64_t warmup = 0;        ///< steps of linear rise from 0
  double final_fraction = 0.1;    ///< cosine: last learning rate / lr. Key "final"
  std::int64_t every = 1000;      ///< step: steps between drops
  double factor = 0.1;            ///< step: what a drop multiplies by
};

struct PrecisionSection {
  std::string compute = "f32";
};  ///< "f32" | "bf16"
struct ComputeSection {
  std::string backend = "auto";  ///< "auto" | "cpu" | "cuda"
  std::int64_t threads = 0;
  std::string plugins;  ///< folder; empty: beside the program
  bool tf32 = false;    ///< cuda: f32 products may round their factors to TF32
};
struct CommSection {
  double bucket_mib = 0.0;        ///< 0 = "auto": see runtime/bucket_choice.h
  std::int64_t coordinators = 0;  ///< 0 = "all"
  bool share_memory = true;
  std::string sharding = "optimizer";  ///< "optimizer" | "gradients" | "values": what is kept of own slices only
  std::string compression = "none";    ///< "none" | "bf16" | "int8" | "int4" | "topk" | "sign": of gradients
  double keep = 0.01;                  ///< topk: share of the elements
  std::int64_t groups = 0;             ///< of shards: compressed as one, or with a copy of the weights; 0: every shard
  std::string reduction = "ordered";   ///< "ordered" | "native": as the devices' library adds
};
struct EvaluateSection {
  std::int64_t every = 0;     ///< steps; 0: only at the end
  std::int64_t batches = 0;   ///< global batches per evaluation; 0: the whole validation set
  std::int64_t patience = 0;  ///< early stopping after so many evaluations without a better loss; 0: never
};
struct CheckpointSection {
  std::int64_t every_steps = 0;  ///< key "every": an integer is steps, "10min" is time; 0: only at the end
  double every_seconds = 0.0;
  std::int64_t keep = 3;
  bool background = true;
  bool copy = true;
};
struct LogSection {
  std::int64_t every = 10;
  std::string progress = "auto";  ///< "auto" | "bar" | "lines" | "none"
  std::int64_t statistics = 0;    ///< steps between per-layer statistics; 0: as `every`
};

struct WatchSection {
  double timeout = 600.0;     ///< seconds that a worker may wait for others; 0: for ever
  bool collectives = true;    ///< before each collective the workers compare what they are about to do
  std::int64_t values = 100;  ///< steps between comparisons of the copies of the weights; 0: never
};

/// The machines that `ballast plan` makes its predictions for. Training does not look at it.
struct ClusterSection {
  std::int64_t nodes = 0;            ///< 0: none is described
  std::int64_t workers = 1;          ///< of a node
  double flops = 0.0;                ///< operations a second of a worker, in precision.compute; 0: measured here
  double memory_bandwidth = 0.0;     ///< bytes a second of a node; 0: measured here
  double memory_gib = 0.0;           ///< of a node; 0: this machine's
  double efficiency = 1.0;           ///< share of `flops` and `memory_bandwidth` that forward and backward reach
  double network_bandwidth = 1.2e8;  ///< bytes a second of payload, each direction of a node's link
  double latency = 50e-6;            ///< seconds from the last byte sent to the message being usable
  double message_seconds = 5e-6;     ///< that a node spends on each message besides its bytes
  double network_overhead = 0.0;     ///< seconds of a core of the node's workers for a byte sent or received
  double disk_bandwidth = 5e8;       ///< bytes a second that a node writes
  double mtbf_hours = 0.0;           ///< mean time between failures of one node; 0: never
  double watts = 0.0;                ///< of a node
  double price = 0.0;                ///< of a node for an hour
};

struct JobConfig {
  JobSection job;
  ModelConfig model;
  DataSection data;
  BatchSection batch;
  OptimizerSection optimizer;
  OuterSection outer;
  ScheduleSection schedule;
  PrecisionSection precision;
  ComputeSection compute;
  CommSection comm;
  EvaluateSection evaluate;
  CheckpointSection checkpoint;
  LogSection log;
  WatchSection watch;
  ClusterSection cluster;
};

}  // namespace ballast
