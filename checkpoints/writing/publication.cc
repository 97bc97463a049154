#include "checkpoints/writing/publication.h"

#include <algorithm>
#include <utility>

#include "checkpoints/format/digest.h"
#include "checkpoints/format/names.h"
#include "checkpoints/format/regions.h"
#include "checkpoints/format/state.h"
#include "checkpoints/hdf5/metadata.h"
#include "compute/error.h"

namespace ballast {

FileLayouts::FileLayouts(const std::vector<TensorSpec>& all) : tensors(all), offsets(all.size()) {
  for (const TensorFile file : kTensorFiles) {
    std::vector<TensorSpec> in_file;
    std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(in_file),
                 [&](const TensorSpec& tensor) { return tensor.file == file; });
    Hdf5Layout layout = lay_out(in_file);
    auto offset = layout.offsets.begin();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].file == file) offsets[i] = *offset++;
    }
    images[static_cast<std::size_t>(file)] = std::move(layout.image);
  }
}

Publication::Publication(FileSystem& files, std::string directory, const FileLayouts& layouts,
                         const TrainingState& state)
    : files_(files), directory_(std::move(directory)), layouts_(layouts), state_(state) {
  temporary_ = directory_ + "/" + hidden_name(".tmp-", checkpoint_name(state.step));
  manifest_.step = state.step;
  manifest_.tensors = layouts.tensors;
  manifest_.offsets = layouts.offsets;
}

// All of its digests are checked: saying "saved" about a damaged one would let the job go on with no way back.
bool Publication::is_there_already() {
  if (!files_.exists(final_path())) return false;
  try {
    Checkpoint::open_unparsed(files_, final_path()).verify();
    files_.sync_directory(directory_);
    return true;
  } catch (const DataError&) {
    files_.rename(final_path(), directory_ + "/" + hidden_name("damaged-", checkpoint_name(manifest_.step)));
    return false;
  }
}

bool Publication::prepare() {
  if (is_there_already()) return false;
  files_.make_directory(temporary_);
  for (const TensorFile file : kTensorFiles) make_file(file);
  return true;
}

// The space for all of the file is taken first: a full disk is found before a byte is written.
void Publication::make_file(TensorFile file) {
  const Hdf5Image& image = layouts_.images[static_cast<std::size_t>(file)];
  const std::string path = temporary_ + "/" + file_name_of(file);
  const auto ranges = metadata_ranges(manifest_.tensors, manifest_.offsets, file, image.size(), path);
  const auto opened = files_.create(path);
  opened->allocate(image.size());
  const std::string digest = write_metadata(*opened, image, ranges);
  opened->sync();
  opened->close();
  manifest_.files.push_back({file_name_of(file), image.size(), digest});
}

void Publication::write_text(const std::string& name, const std::string& text) {
  const auto file = files_.create(temporary_ + "/" + name);
  file->allocate(static_cast<std::int64_t>(text.size()));
  file->write_at(0, std::as_bytes(std::span(text)));
  file->sync();
  file->close();
}

std::int64_t Publication::publish(std::vector<Checkpoint::Segment> segments) {
  std::sort(segments.begin(), segments.end(), [](const Checkpoint::Segment& a, const Checkpoint::Segment& b) {
    return a.tensor != b.tensor ? a.tensor < b.tensor : a.begin < b.begin;
  });
  manifest_.segments = std::move(segments);
  const std::string state = encode_state(state_);
  write_text(kStateFile, state);
  manifest_.files.push_back({kStateFile, static_cast<std::int64_t>(state.size()), digest_of(state)});
  const std::string manifest = encode_manifest(manifest_);
  require(static_cast<std::int64_t>(manifest.size()) <= kMaxManifestBytes, "the manifest is larger than 64 MiB");
  write_text(kManifestFile, manifest);
  files_.sync_directory(temporary_);
  files_.rename(temporary_, final_path());
  files_.sync_directory(directory_);
  std::int64_t bytes = static_cast<std::int64_t>(manifest.size());
  for (const Checkpoint::StoredFile& file : manifest_.files) bytes += file.size;
  return bytes;
}

void Publication::abandon() noexcept {
  try {
    if (files_.exists(temporary_)) remove_tree(files_, temporary_);
  } catch (const std::exception&) {
    // The next job that opens the directory removes it.
  }
}

}  // namespace ballast
