// Implements runtime/data/idx_file.h.
#include "runtime/data/idx_file.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <span>

#include "runtime/data/file_set.h"

namespace ballast {
namespace {

constexpr std::int64_t kMostPerByte = 1040;  // deflate cannot expand a byte to more (1032, and slack for tiny files)
constexpr std::int64_t kChunk = std::int64_t{16} << 20;

/// gzread passes files that are not compressed through as they are, so there is one path for both.
class GzipReader {
 public:
  explicit GzipReader(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), &gzclose) {
    if (file_ == nullptr) throw DataError(path + ": cannot be opened");
  }

  [[nodiscard]] bool compressed() const { return gzdirect(file_.get()) == 0; }
  [[nodiscard]] std::int64_t offset() const { return offset_; }

  /// How many bytes were read: fewer than asked for only at the end of the file.
  std::int64_t read_some(std::span<std::uint8_t> out) {
    const int got = gzread(file_.get(), out.data(), static_cast<unsigned>(out.size()));
    int code = Z_OK;
    const char* text = gzerror(file_.get(), &code);
    // A compressed stream that is cut short gives Z_BUF_ERROR.
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      throw data_error(path_, offset_ + std::max(got, 0),
                       std::string("the gzip stream is damaged or cut: ") + text + ". Get the file again");
    }
    offset_ += got;
    return got;
  }

  void read(std::span<std::uint8_t> out) {
    while (!out.empty()) {
      const std::int64_t got = read_some(out.first(std::min(out.size(), static_cast<std::size_t>(kChunk))));
      if (got == 0) {
        throw data_error(
            path_, offset_,
            "the file ends here, but its header promises " + std::to_string(out.size()) + " more bytes. Get it again");
      }
      out = out.subspan(static_cast<std::size_t>(got));
    }
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, decltype(&gzclose)> file_;
  std::int64_t offset_ = 0;
};

void check_magic(const std::string& path, std::span<const std::uint8_t> magic, int min_dims, int max_dims) {
  if (magic[0] == 0 && magic[1] == 0 && magic[2] == 8 && magic[3] >= min_dims && magic[3] <= max_dims) return;
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(),
                "magic number 0x%02x%02x%02x%02x, expected 0x0000080%d: this is not an IDX file of %s. Check the path",
                magic[0], magic[1], magic[2], magic[3], min_dims, min_dims == 1 ? "labels" : "images");
  throw data_error(path, 0, text.data());
}

std::int64_t checked_elements(const std::string& path, std::span<const std::int64_t> dims, std::int64_t limit) {
  std::int64_t elements = 1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto offset = static_cast<std::int64_t>(4 + 4 * i);
    if (dims[i] == 0)
      throw data_error(path, offset, "dimension " + std::to_string(i) + " is 0: the file holds no data");
    if (elements > limit / dims[i]) {
      throw data_error(path, offset,
                       "the header promises more data than the file can hold: it is damaged or cut. Get it again");
    }
    elements *= dims[i];
  }
  return elements;
}

}  // namespace

IdxFile load_idx(const std::string& path, int min_dims, int max_dims) {
  if (names_several(path)) {
    throw DataError(path +
                    ": data.format = \"idx\" reads one file of images and one of labels, no folders or patterns");
  }
  const FileSet set(list_files(path));
  GzipReader reader(path);
  std::array<std::uint8_t, 4> word{};
  reader.read(word);
  check_magic(path, word, min_dims, max_dims);
  IdxFile idx;
  idx.dims.resize(word[3]);
  for (std::int64_t& dim : idx.dims) {
    reader.read(word);
    dim =
        std::int64_t{word[0]} << 24 | std::int64_t{word[1]} << 16 | std::int64_t{word[2]} << 8 | std::int64_t{word[3]};
  }
  idx.header_bytes = reader.offset();
  const std::int64_t bytes = set.files().front().bytes;
  const std::int64_t limit = reader.compressed() ? bytes * kMostPerByte : bytes - idx.header_bytes;
  idx.elements.resize(static_cast<std::size_t>(checked_elements(path, idx.dims, limit)));
  reader.read(idx.elements);
  if (reader.read_some(std::span(word).first(1)) != 0) {
    throw data_error(path, reader.offset() - 1, "data after the end that the header promises. Get the file again");
  }
  idx.fingerprint = set.fingerprint();
  return idx;
}

}  // namespace ballast
