// Defines: DataFile, data_error: a data file that is read at offsets.
//
// pread and not mmap: a file that is cut while a job trains ends in one clear line instead of SIGBUS, and memory stays
// bounded by what is asked for. The page cache makes it as fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "compute/error.h"

namespace ballast {

/// "FILE: at byte OFFSET: message".
[[nodiscard]] DataError data_error(const std::string& path, std::int64_t offset, const std::string& message);

/// An open file. Move-only; read() may be called from several threads.
class DataFile {
 public:
  /// DataError when it is missing, not a regular file, not readable or empty.
  explicit DataFile(std::string path);
  DataFile(DataFile&& other) noexcept;
  DataFile(const DataFile&) = delete;
  DataFile& operator=(const DataFile&) = delete;
  DataFile& operator=(DataFile&&) = delete;
  ~DataFile();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::int64_t size() const { return size_; }  ///< bytes, when it was opened
  /// Fills `out` from `offset`. DataError when the file ends before; Error(kIo) when the disk fails.
  void read(std::int64_t offset, std::span<std::byte> out) const;
  /// "BYTES:XXH3" over the whole content up to 64 MiB; of larger files over 64 blocks of 1 MiB, evenly spread, the
  /// first and the last among them.
  [[nodiscard]] std::string fingerprint() const;

 private:
  std::string path_;
  std::int64_t size_ = 0;
  int descriptor_ = -1;
};

}  // namespace ballast
