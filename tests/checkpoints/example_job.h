// Defines: TemporaryDirectory, ExampleJob, host_backend: tensors with known values, and saving and loading them on any
// number of workers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "comm/communicator.h"
#include "compute/backend.h"

namespace ballast {

enum class Storage {
  kDisk,
  kMemory
};  ///< memory where the system has a file system in it: for thousands of small changes

class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(Storage storage = Storage::kDisk);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The values are a function of (tensor, element, step): every worker and every test knows them.
struct ExampleJob {
  std::vector<TensorSpec> tensors;

  /// A scalar, tensors smaller than the number of workers, odd sizes, one without elements, and one of more than a
  /// segment.
  static ExampleJob odd_sizes();
  /// A few hundred bytes, so that every byte and every operation can be failed in turn.
  static ExampleJob small();

  [[nodiscard]] static float value(int tensor, std::int64_t element, std::int64_t step);
  [[nodiscard]] static TrainingState state(std::int64_t step);

  /// All ranks; returns the result of the save.
  SaveResult save(CheckpointWriter& writer, Communicator& group, std::int64_t step) const;
  void start(CheckpointWriter& writer, Communicator& group, std::int64_t step) const;
  /// One worker, a writer of its own.
  SaveResult save_alone(FileSystem& files, const std::string& directory, std::int64_t step, int keep = 3) const;
  /// How many elements of this worker's part of the checkpoint differ from those of that step. Cut otherwise than
  /// `save` cuts.
  [[nodiscard]] std::int64_t wrong_values(const Checkpoint& checkpoint, int rank, int workers, std::int64_t step) const;

 private:
  struct Range {
    int tensor = 0;
    std::int64_t begin = 0, end = 0;
  };
  /// An equal part of all elements, as if the tensors were one: cuts fall anywhere.
  [[nodiscard]] std::vector<Range> part(int rank, int workers) const;
};

/// A cpu backend of this thread: its memory is the host's.
[[nodiscard]] Backend& host_backend();
[[nodiscard]] ConstDeviceSpan device_span(std::span<const float> values);

/// Opens, checks every digest and every value. Returns what is wrong, empty when nothing is.
[[nodiscard]] std::string fault_of(FileSystem& files, const ExampleJob& job, const std::string& directory,
                                   std::int64_t step);

/// newest_checkpoint by one worker.
[[nodiscard]] std::optional<Checkpoint> newest_alone(const std::string& directory, std::vector<std::string>& warnings);

[[nodiscard]] std::string file_text(const std::string& path);
void write_file(const std::string& path, const std::string& text);

}  // namespace ballast
