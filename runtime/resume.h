// Defines: find_resume_point, older_resume_point, Continuity, require_continuable: where a start begins, and whether it
// may.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "runtime/batch_plan.h"
#include "runtime/job.h"

namespace ballast {

/// Collective. The checkpoint that job.resume asks for; nullopt for a fresh start. Newer ones that do not open and were
/// passed over are described in `warnings`. Throws DataError when there are checkpoints but none opens, and ConfigError
/// when resume = "never" would write over checkpoints that are there.
[[nodiscard]] std::optional<Checkpoint> find_resume_point(FileSystem& files, Communicator& world,
                                                          const JobConfig& config, std::vector<std::string>& warnings);

/// Collective. The one before `damaged`, of which `damage` says what is wrong with it; `warnings` get to say that it,
/// and what else, was passed over. Throws DataError where there is none, and where job.resume asks for this very one.
[[nodiscard]] Checkpoint older_resume_point(FileSystem& files, Communicator& world, const JobConfig& config,
                                            const Checkpoint& damaged, const std::string& damage,
                                            std::vector<std::string>& warnings);

/// Facts a checkpoint's bits depend on, beside its tensors. Written into TrainingState and compared on resume.
struct Continuity {
  std::uint64_t seed = 0;
  std::int64_t shards = 0, batch = 0, micro = 0;
  SampleOrder order;
  std::string data;         ///< fingerprint of the training set
  std::string compression;  ///< of gradients, with what it depends on; "none"
  std::string outer;        ///< how groups train copies of their own; "none"

  void write_to(TrainingState& state) const;
};

/// Throws ConfigError or DataError, naming the key and both values, unless training may go on from `state` with `now`.
void require_continuable(const TrainingState& state, const Continuity& now);

[[nodiscard]] std::string checkpoint_folder(const JobConfig& config);

}  // namespace ballast
