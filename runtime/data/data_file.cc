// Implements runtime/data/data_file.h.
#include "runtime/data/data_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace ballast {
namespace {

constexpr std::int64_t kBlock = std::int64_t{1} << 20;
constexpr std::int64_t kBlocks = 64;

using HashState = std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)>;

void hash_block(const DataFile& file, std::int64_t offset, std::span<std::byte> block, XXH3_state_t* state) {
  file.read(offset, block);
  require(XXH3_64bits_update(state, block.data(), block.size()) == XXH_OK, "xxhash refused a block");
}

std::int64_t checked_size(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw DataError(path + ": cannot be opened: " + std::strerror(errno) + ". Check the path in section [data]");
  }
  if (!S_ISREG(status.st_mode))
    throw DataError(path + ": is not a regular file. Give the path of a file in section [data]");
  if (status.st_size == 0) throw data_error(path, 0, "the file is empty. Get or make it again");
  return status.st_size;
}

}  // namespace

DataError data_error(const std::string& path, std::int64_t offset, const std::string& message) {
  return DataError(path + ": at byte " + std::to_string(offset) + ": " + message);
}

DataFile::DataFile(std::string path) : path_(std::move(path)), size_(checked_size(path_)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw DataError(path_ + ": cannot be opened: " + std::strerror(errno));
}

DataFile::DataFile(DataFile&& other) noexcept
    : path_(std::move(other.path_)), size_(other.size_), descriptor_(std::exchange(other.descriptor_, -1)) {}

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

std::string DataFile::fingerprint() const {
  const HashState state(XXH3_createState(), &XXH3_freeState);
  require(state != nullptr && XXH3_64bits_reset(state.get()) == XXH_OK, "xxhash could not start");
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(size_, kBlock)));
  if (size_ <= kBlocks * kBlock) {
    for (std::int64_t offset = 0; offset < size_; offset += kBlock) {
      const auto count = static_cast<std::size_t>(std::min(kBlock, size_ - offset));
      hash_block(*this, offset, std::span(buffer).first(count), state.get());
    }
  } else {
    for (std::int64_t block = 0; block < kBlocks; ++block) {
      const std::int64_t offset = (size_ - kBlock) / (kBlocks - 1) * block;
      hash_block(*this, block + 1 == kBlocks ? size_ - kBlock : offset, buffer, state.get());
    }
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%lld:%016llx", static_cast<long long>(size_),
                static_cast<unsigned long long>(XXH3_64bits_digest(state.get())));
  return text.data();
}

}  // namespace ballast
