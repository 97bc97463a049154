// Defines: DataFile, data_error, data_file_bytes: a data file that is read at offsets.
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

/// Asks the file system only. DataError when it is missing, not a regular file or empty.
[[nodiscard]] std::int64_t data_file_bytes(const std::string& path);

/// An open file. read() may be called from several threads.
class DataFile {
 public:
  /// Throws what data_file_bytes() throws, and DataError when it is not readable.
  explicit DataFile(std::string path);
  DataFile(const DataFile&) = delete;
  DataFile& operator=(const DataFile&) = delete;
  ~DataFile();

  [[nodiscard]] std::int64_t size() const { return size_; }  ///< bytes, when it was opened
  /// Fills `out` from `offset`. DataError when the file ends before; Error(kIo) when the disk fails.
  void read(std::int64_t offset, std::span<std::byte> out) const;

 private:
  std::string path_;
  std::int64_t size_ = 0;
  int descriptor_ = -1;
};

}  // namespace ballast
