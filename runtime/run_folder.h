// Defines: RunFolder: the files of a run that people and scripts read: config.toml, metrics.jsonl, log.
//
// Exists on rank 0 only. Layout of a run folder:
//   config.toml      the resolved job file of the latest start
//   metrics.jsonl    one JSON object per line; docs/metrics.md
//   log              what the console said, with times
//   checkpoints/     checkpoints/FORMAT.md
//   flight/          flight recorders of all workers; docs/failures.md
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "models/parameters.h"
#include "runtime/coordinator.h"
#include "runtime/observer.h"

namespace ballast {

class RunFolder {
 public:
  /// Makes the folder. Throws Error(kIo) naming the path. Lines of metrics.jsonl after `resumed_step` are cut off, so
  /// that curves do not run double after a resume; a half-written last line goes too.
  RunFolder(const std::string& directory, const std::string& config_text, std::int64_t resumed_step);

  void record_step(const StepReport& report, double seconds);
  void record_evaluation(std::int64_t step, double loss, double accuracy, std::int64_t samples);
  void record_statistics(std::int64_t step, const std::vector<ParameterStatistics>& statistics,
                         const ParameterTable& parameters);
  void record_checkpoint(const SaveResult& result);
  void log(const std::string& line);

 private:
  std::ofstream metrics_, log_;
};

}  // namespace ballast
