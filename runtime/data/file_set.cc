// Implements FileSet of runtime/data/file_set.h.
#include "runtime/data/file_set.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <mutex>
#include <numeric>

#include "runtime/data/first_look.h"

namespace ballast {
namespace {

/// XXH3 of what it is given, however that is cut.
class Digest {
 public:
  Digest() : state_(XXH3_createState(), &XXH3_freeState) {
    require(state_ != nullptr && XXH3_64bits_reset(state_.get()) == XXH_OK, "xxhash could not start");
  }
  void add(std::span<const std::byte> bytes) {
    require(XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()) == XXH_OK, "xxhash refused a block");
  }
  void add(const std::string& text) { add(std::as_bytes(std::span(text.c_str(), text.size() + 1))); }
  [[nodiscard]] std::string text() const {
    std::array<char, 17> hex{};
    std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(XXH3_64bits_digest(state_.get())));
    return hex.data();
  }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

}  // namespace

void FileSet::read(std::size_t file, std::int64_t offset, std::span<std::byte> out) const {
  require(file < files_.size(), "file outside the set");
  Slot& slot = slots_[file % kOpenFiles];
  {
    const std::shared_lock lock(slot.mutex);
    if (slot.open && slot.file == file) return slot.open->read(offset, out);
  }
  const std::unique_lock lock(slot.mutex);
  if (!slot.open || slot.file != file) open(file, slot);
  slot.open->read(offset, out);
}

void FileSet::open(std::size_t file, Slot& slot) const {
  const auto& [path, bytes] = files_[file];
  slot.open.emplace(path);
  slot.file = file;
  const std::int64_t now = slot.open->size();
  if (now == bytes) return;
  slot.open.reset();
  throw data_error(path, std::min(now, bytes),
                   "the file has " + std::to_string(now) + " bytes, but had " + std::to_string(bytes) +
                       " when the job started. Restore it, and start the job again");
}

std::string FileSet::fingerprint() const {
  const bool several = files_.size() > 1;
  Digest digest;
  std::vector<std::int64_t> sizes;
  for (const ListedFile& file : files_) {
    sizes.push_back(file.bytes);
    if (!several) break;  // the digest of a file alone is of its content
    digest.add(file.path.substr(file.path.rfind('/') + 1));
    digest.add(std::to_string(file.bytes));
  }
  std::vector<std::byte> buffer;
  for (const Extent& extent : first_look(sizes)) {
    buffer.resize(static_cast<std::size_t>(extent.count));
    read(extent.part, extent.first, buffer);
    digest.add(buffer);
  }
  const std::int64_t bytes = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  return (several ? std::to_string(files_.size()) + " files, " : "") + std::to_string(bytes) + ":" + digest.text();
}

}  // namespace ballast
