// Defines: ListedFile, FileList, list_files, names_several, FileSet: one or many data files, read where and when they
// are needed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/data/data_file.h"

namespace ballast {

struct ListedFile {
  std::string path;
  std::int64_t bytes = 0;
};
using FileList = std::vector<ListedFile>;

/// Whether `path` is a folder, or a pattern: * and ? in the last part of a path at which there is nothing.
[[nodiscard]] bool names_several(const std::string& path);

/// The file `path`, the files of the folder `path`, or those that match the pattern: in the order of the bytes of their
/// names, so that it is the same on every host. Without hidden files and subfolders. Asks the file system for names and
/// sizes, and opens nothing. DataError when there is no file, or when one is missing, empty or not a regular file.
[[nodiscard]] FileList list_files(const std::string& path);

/// Opens a file when something in it is read, and keeps at most kOpenFiles of them open.
class FileSet {
 public:
  explicit FileSet(FileList files) : files_(std::move(files)) {}

  [[nodiscard]] const FileList& files() const { return files_; }
  /// Fills `out` from byte `offset` of a file. May be called from several threads. Throws what DataFile throws, and
  /// DataError when the file's size is not the listed one.
  void read(std::size_t file, std::int64_t offset, std::span<std::byte> out) const;
  /// "BYTES:XXH3" of the first look (first_look.h) at the files; of several files "FILES files, BYTES:XXH3", where the
  /// digest takes in all their names and sizes too.
  [[nodiscard]] std::string fingerprint() const;

 private:
  static constexpr std::size_t kOpenFiles = 64;

  /// File i is opened in slot i mod kOpenFiles. `mutex` is shared by those who read, and held alone to change the file.
  struct Slot {
    std::shared_mutex mutex;
    std::size_t file = 0;
    std::optional<DataFile> open;
  };
  void open(std::size_t file, Slot& slot) const;

  FileList files_;
  mutable std::array<Slot, kOpenFiles> slots_;
};

}  // namespace ballast
