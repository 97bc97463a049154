// Implements FileSystem on POSIX calls. What is special: no link is followed to a file, nothing is ever replaced,
// interrupted and short transfers go on, and every error names the path.
#include "checkpoints/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <utility>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::size_t kTransferBytes = std::size_t{64} << 20;  // per system call; Linux caps one call at 2 GiB

[[noreturn]] void throw_errno(const std::string& path, int error) {
  throw Error(path + ": " + std::generic_category().message(error), ExitCode::kIo);
}

class PosixFile : public File {
 public:
  PosixFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;
  ~PosixFile() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  void write_at(std::int64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t count = ::pwrite(descriptor_, bytes.data(), std::min(bytes.size(), kTransferBytes), offset);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw_errno(path_, errno);
      if (count == 0) throw_errno(path_, EIO);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += count;
    }
  }

  void read_at(std::int64_t offset, std::span<std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t count = ::pread(descriptor_, bytes.data(), std::min(bytes.size(), kTransferBytes), offset);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw_errno(path_, errno);
      if (count == 0) throw DataError(path_ + ": ends at byte " + std::to_string(offset) + ", more was expected");
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += count;
    }
  }

  void allocate(std::int64_t bytes) override {
    if (bytes == 0) return;
    int error = EINTR;
    while (error == EINTR) error = ::posix_fallocate(descriptor_, 0, bytes);
    if (error != 0) throw_errno(path_, error);
  }

  void sync() override {
    if (::fsync(descriptor_) != 0) throw_errno(path_, errno);
  }

  void close() override {
    if (::close(std::exchange(descriptor_, -1)) != 0) throw_errno(path_, errno);
  }

  std::int64_t size() override {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) throw_errno(path_, errno);
    return status.st_size;
  }

 private:
  int descriptor_;
  std::string path_;
};

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

bool is_regular(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

bool means_not_a_file(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO || error == EISDIR;
}

class PosixFileSystem : public FileSystem {
 public:
  std::unique_ptr<File> create(const std::string& path) override { return open(path, O_WRONLY | O_CREAT | O_EXCL); }
  std::unique_ptr<File> open_write(const std::string& path) override { return open(path, O_WRONLY); }

  // O_NONBLOCK so that a FIFO in the place of a file is refused rather than waited for; it means nothing for regular
  // files.
  std::unique_ptr<File> open_read(const std::string& path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0 && errno == ENOENT) throw DataError(path + ": no such file");
    if (descriptor < 0 && means_not_a_file(errno)) throw DataError(path + ": not a regular file");
    if (descriptor < 0) throw_errno(path, errno);
    auto file = std::make_unique<PosixFile>(descriptor, path);
    if (!is_regular(descriptor)) throw DataError(path + ": not a regular file");
    return file;
  }

  void make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0700) != 0) throw_errno(path, errno);
  }

  void sync_directory(const std::string& path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) throw_errno(path, errno);
    PosixFile directory(descriptor, path);
    directory.sync();
    directory.close();
  }

  // Some network file systems cannot refuse to replace: there the look before is all we have. A directory with files in
  // it is never replaced by any of them.
  void rename(const std::string& from, const std::string& to) override {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
    if (errno != EINVAL && errno != ENOSYS) throw_errno(to, errno);
    if (exists(to)) throw_errno(to, EEXIST);
    if (::rename(from.c_str(), to.c_str()) != 0) throw_errno(to, errno);
  }

  void remove_file(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) throw_errno(path, errno);
  }
  void remove_directory(const std::string& path) override {
    if (::rmdir(path.c_str()) != 0) throw_errno(path, errno);
  }

  std::vector<std::string> list(const std::string& path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0 && errno == ENOENT) return {};
    if (descriptor < 0) throw_errno(path, errno);
    const std::unique_ptr<DIR, DirectoryCloser> directory(::fdopendir(descriptor));
    if (!directory) throw_errno(path, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    if (errno != 0) throw_errno(path, errno);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool exists(const std::string& path) override {
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) return true;
    if (errno != ENOENT && errno != ENOTDIR) throw_errno(path, errno);
    return false;
  }

 private:
  static std::unique_ptr<File> open(const std::string& path, int flags) {
    const int descriptor = ::open(path.c_str(), flags | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);
    if (descriptor < 0) throw_errno(path, errno);
    auto file = std::make_unique<PosixFile>(descriptor, path);
    if (!is_regular(descriptor)) throw Error(path + ": not a regular file", ExitCode::kIo);
    return file;
  }
};

}  // namespace

FileSystem& real_file_system() {
  static PosixFileSystem files;
  return files;
}

}  // namespace ballast
