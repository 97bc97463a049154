// Implements runtime/data/data_file.h.
#include "runtime/data/data_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace ballast {

DataError data_error(const std::string& path, std::int64_t offset, const std::string& message) {
  return DataError(path + ": at byte " + std::to_string(offset) + ": " + message);
}

std::int64_t data_file_bytes(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw DataError(path + ": cannot be opened: " + std::strerror(errno) + ". Check the path in section [data]");
  }
  if (!S_ISREG(status.st_mode))
    throw DataError(path + ": is not a regular file. Give the path of a file in section [data]");
  if (status.st_size == 0) throw data_error(path, 0, "the file is empty. Get or make it again");
  return status.st_size;
}

DataFile::DataFile(std::string path) : path_(std::move(path)), size_(data_file_bytes(path_)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw DataError(path_ + ": cannot be opened: " + std::strerror(errno));
}

DataFile::~DataFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void DataFile::read(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Error(path_ + ": at byte " + std::to_string(offset) + ": cannot be read: " + std::strerror(errno),
                  ExitCode::kIo);
    }
    if (got == 0) {
      throw data_error(path_, offset,
                       "the file ends here, but " + std::to_string(out.size()) +
                           " more bytes are needed. It was cut after it was opened, or is damaged");
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

}  // namespace ballast
