#include "checkpoints/hdf5/image.h"

#include <algorithm>

#include "checkpoints/hdf5/library.h"

namespace ballast {
namespace {

// What HDF5 hands back to the driver's functions. `base` comes first: HDF5 sees only that.
struct ImageFile {
  H5FD_t base{};
  Hdf5Image* image = nullptr;
  haddr_t end_of_allocation = 0;
};

// What set_image_driver puts into the file access list.
struct DriverInfo {
  Hdf5Image* image = nullptr;
};

ImageFile& image_file(H5FD_t* file) { return *reinterpret_cast<ImageFile*>(file); }
const ImageFile& image_file(const H5FD_t* file) { return *reinterpret_cast<const ImageFile*>(file); }

H5FD_t* open_image(const char*, unsigned flags, hid_t access, haddr_t) {
  const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access));
  if (info == nullptr) return nullptr;
  if ((flags & H5F_ACC_TRUNC) != 0) *info->image = Hdf5Image();
  auto* file = new ImageFile;
  file->image = info->image;
  return &file->base;
}

herr_t close_image(H5FD_t* file) {
  delete &image_file(file);
  return 0;
}

herr_t query_image(const H5FD_t*, unsigned long* features) {
  *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
  return 0;
}

haddr_t end_of_allocation(const H5FD_t* file, H5FD_mem_t) { return image_file(file).end_of_allocation; }

herr_t set_end_of_allocation(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  image_file(file).end_of_allocation = end;
  return 0;
}

haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) { return static_cast<haddr_t>(image_file(file).image->size()); }

// Addresses come from the file's own structures: those of a damaged or crafted one may lie anywhere.
bool is_inside(std::int64_t size, haddr_t offset, std::size_t count) {
  const auto limit = static_cast<haddr_t>(size);
  return offset <= limit && count <= limit - offset;
}

herr_t read_image(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t offset, std::size_t count, void* bytes) {
  const Hdf5Image& image = *image_file(file).image;
  if (!is_inside(image.size(), offset, count)) return -1;
  image.read(static_cast<std::int64_t>(offset), {static_cast<std::byte*>(bytes), count});
  return 0;
}

herr_t write_image(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t offset, std::size_t count, const void* bytes) {
  const ImageFile& target = image_file(file);
  if (!is_inside(static_cast<std::int64_t>(target.end_of_allocation), offset, count)) return -1;
  target.image->write(static_cast<std::int64_t>(offset), {static_cast<const std::byte*>(bytes), count});
  return 0;
}

herr_t truncate_image(H5FD_t* file, hid_t, hbool_t) {
  image_file(file).image->resize(static_cast<std::int64_t>(image_file(file).end_of_allocation));
  return 0;
}

hid_t register_driver() {
  H5FD_class_t driver{};
  driver.name = "ballast_image";
  driver.maxaddr = static_cast<haddr_t>(INT64_MAX);
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(DriverInfo);
  driver.open = open_image;
  driver.close = close_image;
  driver.query = query_image;
  driver.get_eoa = end_of_allocation;
  driver.set_eoa = set_end_of_allocation;
  driver.get_eof = end_of_file;
  driver.read = read_image;
  driver.write = write_image;
  driver.truncate = truncate_image;
  const H5FD_mem_t one_list[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(one_list), std::end(one_list), std::begin(driver.fl_map));
  return check_h5(H5FDregister(&driver), "HDF5 refuses the in-memory driver");
}

}  // namespace

void Hdf5Image::write(std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::int64_t within = offset % kPageBytes;
    const std::size_t count = std::min(bytes.size(), static_cast<std::size_t>(kPageBytes - within));
    auto& page = pages_[offset / kPageBytes];
    std::copy_n(bytes.begin(), count, page.begin() + within);
    bytes = bytes.subspan(count);
    offset += static_cast<std::int64_t>(count);
  }
  size_ = std::max(size_, offset);
}

void Hdf5Image::read(std::int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const std::int64_t within = offset % kPageBytes;
    const std::size_t count = std::min(bytes.size(), static_cast<std::size_t>(kPageBytes - within));
    const auto page = pages_.find(offset / kPageBytes);
    if (page == pages_.end()) {
      std::fill_n(bytes.begin(), count, std::byte{0});
    } else {
      std::copy_n(page->second.begin() + within, count, bytes.begin());
    }
    bytes = bytes.subspan(count);
    offset += static_cast<std::int64_t>(count);
  }
}

void set_image_driver(hid_t access, Hdf5Image& image) {
  static const hid_t driver = register_driver();
  const DriverInfo info{&image};
  check_h5(H5Pset_driver(access, driver, &info), "HDF5 refuses the in-memory driver");
}

}  // namespace ballast
