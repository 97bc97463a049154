// Defines: Hdf5Image: the bytes of an HDF5 file that are not tensor data, in memory, and a virtual file driver over
// them.
//
// HDF5 never sees a file of the disk. To write, it builds the structure of a file here, and the bytes go out through
// FileSystem. To read, the bytes come in through FileSystem, their digest is checked, and HDF5 parses those very bytes.
// So a full disk cannot fail HDF5 half-way, a file cannot change between check and parse, and tests can fail every
// operation.
#pragma once

#include <hdf5.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

namespace ballast {

/// Sparse: memory for the pages that were written (tensor data never is), zeros elsewhere.
class Hdf5Image {
 public:
  void write(std::int64_t offset, std::span<const std::byte> bytes);
  void read(std::int64_t offset, std::span<std::byte> bytes) const;
  [[nodiscard]] std::int64_t size() const { return size_; }
  void resize(std::int64_t size) { size_ = size; }

 private:
  static constexpr std::int64_t kPageBytes = 4096;
  std::map<std::int64_t, std::array<std::byte, kPageBytes>> pages_;
  std::int64_t size_ = 0;  ///< of the file, bytes
};

/// Makes a file access list open `image` whatever the file's name. The image must outlive the file. Within an
/// Hdf5Session.
void set_image_driver(hid_t access, Hdf5Image& image);

}  // namespace ballast
