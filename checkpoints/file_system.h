// Defines: FileSystem, File, real_file_system: the few file operations that checkpoints are made of, so that tests can
// fail each one.
//
// Every method throws Error(kIo) naming path and errno text, unless it says otherwise. fsync is never retried: the
// kernel reports a lost write once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ballast {

/// An open file. Closed by the destructor; close() reports errors that the destructor cannot.
class File {
 public:
  virtual ~File() = default;
  virtual void write_at(std::int64_t offset,
                        std::span<const std::byte> bytes) = 0;                ///< all of it, short writes continued
  virtual void read_at(std::int64_t offset, std::span<std::byte> bytes) = 0;  ///< all of it; DataError at end of file
  virtual void allocate(
      std::int64_t bytes) = 0;  ///< reserves space (posix_fallocate): a full disk is found before any byte is written
  virtual void sync() = 0;      ///< fsync
  virtual void close() = 0;
  [[nodiscard]] virtual std::int64_t size() = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  [[nodiscard]] virtual std::unique_ptr<File> create(
      const std::string& path) = 0;  ///< new file, 0600; fails where it exists
  [[nodiscard]] virtual std::unique_ptr<File> open_write(const std::string& path) = 0;  ///< existing file
  /// Existing regular file, no links followed, never blocks. DataError where it is missing or something else.
  [[nodiscard]] virtual std::unique_ptr<File> open_read(const std::string& path) = 0;
  virtual void make_directory(const std::string& path) = 0;  ///< 0700; fails where it exists
  virtual void sync_directory(const std::string& path) = 0;
  virtual void rename(const std::string& from, const std::string& to) = 0;  ///< never replaces: fails where `to` exists
  virtual void remove_file(const std::string& path) = 0;
  virtual void remove_directory(const std::string& path) = 0;  ///< empty
  [[nodiscard]] virtual std::vector<std::string> list(
      const std::string& path) = 0;  ///< names, sorted; empty where it is missing
  [[nodiscard]] virtual bool exists(const std::string& path) = 0;
};

[[nodiscard]] FileSystem& real_file_system();

}  // namespace ballast
