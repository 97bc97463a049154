// Defines: TensorSpec, TensorPiece, ConstTensorPiece, HostPiece, TrainingState, Soundness, Checkpoint, find/open/read,
// CheckpointWriter. The format is in FORMAT.md.
//
// This room sees named tensors and ranges of their elements: no layers, no optimizers. All stored tensors are f32.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/file_system.h"
#include "comm/communicator.h"
#include "compute/backend.h"

namespace ballast {

enum class TensorFile : std::uint8_t {
  kWeights,    ///< weights.h5, dataset "/<name>" ("." in a name makes no group)
  kOptimizer,  ///< optimizer.h5, dataset "/<state>/<name>", for example "/m/blocks.0.ln_1.weight"
};

struct TensorSpec {
  std::string name;  ///< dataset path without the leading slash
  Shape shape;
  TensorFile file = TensorFile::kWeights;
  bool operator==(const TensorSpec&) const = default;
};

/// Elements [begin, begin + values.size) of tensor number `tensor`, as f32 in memory of a backend.
struct ConstTensorPiece {
  int tensor = 0;
  std::int64_t begin = 0;
  ConstDeviceSpan values;
};
struct TensorPiece {
  int tensor = 0;
  std::int64_t begin = 0;
  DeviceSpan values;
};
/// The same in memory of the host.
struct HostPiece {
  int tensor = 0;
  std::int64_t begin = 0;
  std::span<float> values;
};

inline constexpr std::int64_t kMaxStep = 999'999'999'999;  ///< twelve digits: see checkpoint_name()

/// The small rest: everything that is not a tensor and that resuming needs. Written as a framed Boost.Serialization
/// archive.
struct TrainingState {
  std::int64_t step = 0;  ///< optimizer updates done
  std::int64_t samples_seen = 0;
  std::uint64_t seed = 0;
  std::int64_t shards = 0;
  std::string config;                        ///< the resolved job file
  std::map<std::string, double> numbers;     ///< runtime's own: best validation loss, ...
  std::map<std::string, std::string> texts;  ///< runtime's own: data fingerprint, ...
};

/// How far rank 0 looks into a checkpoint before it is chosen.
enum class Soundness : std::uint8_t {
  kOpens,     ///< as Checkpoint::open; tensors are looked at when they are read
  kVerified,  ///< as Checkpoint::verify: all of it is read
};

/// A published checkpoint whose manifest has been read and checked.
class Checkpoint {
 public:
  /// Reads and checks manifest, file sizes, HDF5 metadata digest and structure, and the state. Not collective.
  /// DataError (65) for damage, Error(kVersion) (69) for a newer format.
  static Checkpoint open(FileSystem& files, const std::string& directory);

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::int64_t step() const { return state_.step; }
  [[nodiscard]] const TrainingState& state() const { return state_; }
  [[nodiscard]] const std::vector<TensorSpec>& tensors() const { return tensors_; }
  [[nodiscard]] std::int64_t bytes() const;  ///< of all files

  /// Fills the pieces, in any order, and checks the digest of every segment they touch, which is read once. DataError
  /// names file and tensor.
  void read(std::span<const HostPiece> pieces) const;
  /// The same into memory of `backend`: in place where the host may write there, otherwise a segment at a time.
  void read(std::span<const TensorPiece> pieces, Backend& backend) const;
  /// Checks every digest of every file; reports each checked tensor to nobody: throws at the first damage.
  void verify() const;
  /// XXH3-128, as 32 hex digits, over the weights in name order: name, shape, values. Equal for equal weights however
  /// they were written. Optimizer state is not part of it.
  [[nodiscard]] std::string weights_digest() const;

  // A run of elements of one tensor with its own digest.
  struct Segment {
    int tensor = 0;
    std::int64_t begin = 0, end = 0;  ///< elements
    std::string digest;               ///< 32 hex digits
  };
  // One of weights.h5, optimizer.h5 and state.
  struct StoredFile {
    std::string name;
    std::int64_t size = 0;  ///< bytes
    std::string digest;     ///< of every byte that is not tensor data
  };

 private:
  friend std::optional<Checkpoint> newest_checkpoint(FileSystem&, Communicator&, const std::string&,
                                                     std::vector<std::string>&, Soundness, std::int64_t);
  friend class Publication;  // looks, without HDF5, at a checkpoint that is there already
  static Checkpoint open_unparsed(FileSystem& files, const std::string& directory);
  // From the bytes of the manifest and the state: touches no file.
  Checkpoint(FileSystem& files, const std::string& directory, std::string manifest_text, const std::string& state_text);
  [[nodiscard]] std::string pack() const;  ///< what another worker needs to build the same Checkpoint
  void check_structure(bool parse) const;
  class OpenFiles;
  class HeldSegment;
  [[nodiscard]] std::span<const Segment> segments_of(int tensor, std::int64_t begin, std::int64_t size) const;
  void read_segment(OpenFiles& files, const Segment& segment, std::span<float> values) const;
  [[nodiscard]] std::string path_of(TensorFile file) const;

  FileSystem* files_ = nullptr;
  std::string directory_;
  std::string manifest_text_;
  TrainingState state_;
  std::vector<StoredFile> stored_;
  std::vector<TensorSpec> tensors_;
  std::vector<std::int64_t> offsets_;  ///< of each tensor's data in its file, bytes
  std::vector<Segment> segments_;      ///< by tensor and begin; they cover every tensor without hole or overlap
};

/// Throws DataError naming the first tensor that differs, with both shapes, unless the checkpoint's tensors are
/// `expected`.
void require_same_tensors(const Checkpoint& checkpoint, const std::vector<TensorSpec>& expected);

/// Steps of the published checkpoints in a directory ("step-000000000042"), newest first. Empty when there is none.
[[nodiscard]] std::vector<std::int64_t> list_checkpoints(FileSystem& files, const std::string& directory);
[[nodiscard]] std::string checkpoint_name(std::int64_t step);

/// Collective. Rank 0 chooses the newest sound checkpoint of a step below `before` and every rank gets the same one;
/// damaged ones are skipped and described in `warnings`. nullopt only when there is none at all; DataError when there
/// are some and none is sound: training must not silently start afresh.
[[nodiscard]] std::optional<Checkpoint> newest_checkpoint(FileSystem& files, Communicator& group,
                                                          const std::string& directory,
                                                          std::vector<std::string>& warnings, Soundness soundness,
                                                          std::int64_t before = kMaxStep + 1);
/// Collective. Every rank reads its pieces. Returns what was wrong with the checkpoint, as the first rank that met
/// something tells it, on every rank; empty: nothing.
[[nodiscard]] std::string read_together(const Checkpoint& checkpoint, std::span<const TensorPiece> pieces,
                                        Backend& backend, Communicator& group);

/// Result of one save, the same on every rank.
struct SaveResult {
  std::int64_t step = 0;
  bool ok = false;
  std::string message;         ///< why not: rank, host, path and errno text
  double seconds = 0.0;        ///< that the slowest worker's work took
  double stall_seconds = 0.0;  ///< ... that training stood still for it, the longest of any worker
  std::int64_t bytes = 0;
};

struct CheckpointWriterOptions {
  std::string directory;
  int keep = 3;  ///< newest checkpoints kept; the one resumed from and pinned ones stay as well
  bool background = true;
  /// false, where the host can address the pieces: they are written from where they are, and wait_for_reads() comes
  /// before they change.
  bool copy = true;
};

/// Writes checkpoints behind training, one at a time. All methods are collective and are called at step boundaries by
/// all ranks in the same order. A failed save leaves the old checkpoints as they are; training goes on.
class CheckpointWriter {
 public:
  /// Makes the directory where needed; takes its lock (ConfigError when another live job holds it); removes what a dead
  /// job left half-written.
  CheckpointWriter(FileSystem& files, Communicator& group, const CheckpointWriterOptions& options);
  ~CheckpointWriter();

  /// Downloads the pieces from `backend` and starts writing. The downloads are the only stall, and where the backend
  /// downloads beside other work they are complete only at the poll() or finish() that begins to write them. All ranks'
  /// pieces cover every tensor exactly once. Finishes a save still under way first. A checkpoint of this step that is
  /// there already is left as it is and reported as saved.
  void start(const std::vector<TensorSpec>& tensors, std::span<const ConstTensorPiece> pieces,
             const TrainingState& state, Backend& backend);
  /// Returns when the pieces of the last start() may be overwritten. Not collective.
  void wait_for_reads();
  /// The result of the save under way, once all workers are done with it; nullopt while there is none or it still runs.
  [[nodiscard]] std::optional<SaveResult> poll();
  /// Waits for the save under way.
  [[nodiscard]] std::optional<SaveResult> finish();
  /// Keeps this step's checkpoint whatever `keep` says (the best so far; the one resumed from). Replaces the pin of
  /// that name.
  void pin(const std::string& name, std::int64_t step);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast
