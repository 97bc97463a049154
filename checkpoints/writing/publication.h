// Defines: FileLayouts, Publication: what rank 0 alone does for one save: make the files, and make them a checkpoint. A
// Publication neither communicates nor calls HDF5, but to look at a checkpoint that is there: it runs on a background
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "checkpoints/format/manifest.h"
#include "checkpoints/hdf5/layout.h"
#include "checkpoints/writing/retention.h"

namespace ballast {

/// Both HDF5 files of a job, in memory: all but the data. The same for every step.
struct FileLayouts {
  explicit FileLayouts(const std::vector<TensorSpec>& tensors);

  std::vector<TensorSpec> tensors;
  std::vector<std::int64_t> offsets;  ///< by tensor
  std::array<Hdf5Image, 2> images;    ///< by TensorFile
};

class Publication {
 public:
  /// `layouts` must outlive it.
  Publication(FileSystem& files, std::string directory, const FileLayouts& layouts, const TrainingState& state);

  [[nodiscard]] const std::string& temporary() const { return temporary_; }  ///< the directory to write into

  /// Makes the temporary directory with both HDF5 files at full size and everything in them but the data. False when a
  /// sound checkpoint of this step is there already; a damaged one is put aside.
  [[nodiscard]] bool prepare();
  /// After all data are written and synced: state, manifest, rename. From here on it is a checkpoint. Returns its
  /// bytes.
  std::int64_t publish(std::vector<Checkpoint::Segment> segments);
  /// Removes the temporary directory. Never throws.
  void abandon() noexcept;

 private:
  [[nodiscard]] bool is_there_already();
  void make_file(TensorFile file);
  void write_text(const std::string& name, const std::string& text);
  [[nodiscard]] std::string final_path() const { return directory_ + "/" + checkpoint_name(manifest_.step); }

  FileSystem& files_;
  std::string directory_, temporary_;
  const FileLayouts& layouts_;
  TrainingState state_;
  Manifest manifest_;
};

}  // namespace ballast
