#include "checkpoints/hdf5/layout.h"

#include <algorithm>

#include "checkpoints/format/regions.h"
#include "checkpoints/hdf5/library.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr hsize_t kAlignment = 4096;  // of every dataset of at least this many bytes
constexpr hsize_t kMetadataPerTensor = 512;
constexpr hsize_t kMinMetadataBlock = 2048, kMaxMetadataBlock = hsize_t{1} << 20;

// One version of the format, whatever library writes it; large data aligned for direct access; metadata in few pieces.
H5Properties file_access(Hdf5Image& image, std::size_t tensors) {
  H5Properties access(H5Pcreate(H5P_FILE_ACCESS), "cannot make an HDF5 file access list");
  set_image_driver(access.get(), image);
  check_h5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "cannot fix the HDF5 version");
  check_h5(H5Pset_alignment(access.get(), kAlignment, kAlignment), "cannot set the HDF5 alignment");
  const hsize_t block = std::clamp(kMetadataPerTensor * tensors, kMinMetadataBlock, kMaxMetadataBlock);
  check_h5(H5Pset_meta_block_size(access.get(), block), "cannot set the HDF5 metadata block");
  return access;
}

// Without times: they would make equal checkpoints different.
H5Properties creation(hid_t kind) {
  H5Properties list(H5Pcreate(kind), "cannot make an HDF5 creation list");
  check_h5(H5Pset_obj_track_times(list.get(), false), "cannot switch HDF5 times off");
  return list;
}

H5Properties dataset_creation() {
  H5Properties list = creation(H5P_DATASET_CREATE);
  check_h5(H5Pset_layout(list.get(), H5D_CONTIGUOUS), "cannot choose the contiguous layout");
  check_h5(H5Pset_alloc_time(list.get(), H5D_ALLOC_TIME_EARLY), "cannot choose early allocation");
  check_h5(H5Pset_fill_time(list.get(), H5D_FILL_TIME_NEVER), "cannot switch filling off");
  return list;
}

// The groups "/m", "/m/x", ... above the tensor `name`.
void make_groups(hid_t file, const std::string& name) {
  for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string group = name.substr(0, slash);
    if (check_h5(H5Lexists(file, group.c_str(), H5P_DEFAULT), "cannot look for a group") > 0) continue;
    const H5Properties list = creation(H5P_GROUP_CREATE);
    const H5Group made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, list.get(), H5P_DEFAULT), "cannot make a group");
  }
}

H5Space space_of(const Shape& shape) {
  if (shape.rank() == 0) return {H5Screate(H5S_SCALAR), "cannot make a dataspace"};
  const std::vector<hsize_t> dims(shape.dims().begin(), shape.dims().end());
  return {H5Screate_simple(shape.rank(), dims.data(), nullptr), "cannot make a dataspace"};
}

// Returns the offset of its data.
std::int64_t make_dataset(hid_t file, const TensorSpec& tensor) {
  make_groups(file, tensor.name);
  const H5Space space = space_of(tensor.shape);
  const H5Properties list = dataset_creation();
  const H5Dataset dataset(
      H5Dcreate2(file, tensor.name.c_str(), H5T_IEEE_F32LE, space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT),
      ("cannot make the dataset '" + tensor.name + "'").c_str());
  if (bytes_of(tensor) == 0) return 0;
  const haddr_t offset = H5Dget_offset(dataset.get());
  require(offset != HADDR_UNDEF, "HDF5 allocated no space for a dataset");
  return static_cast<std::int64_t>(offset);
}

void expect(bool holds, const std::string& path, const TensorSpec& tensor, const char* what) {
  if (!holds) throw DataError(path + ": dataset '" + tensor.name + "' " + what);
}

void check_shape(hid_t dataset, const TensorSpec& tensor, const std::string& path) {
  const H5Space space(H5Dget_space(dataset), "cannot read a dataspace");
  const int rank = H5Sget_simple_extent_ndims(space.get());
  expect(rank == tensor.shape.rank(), path, tensor, "has another number of dimensions than the manifest says");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  check_h5(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), "cannot read a shape");
  const bool same = std::equal(dims.begin(), dims.end(), tensor.shape.dims().begin(), tensor.shape.dims().end(),
                               [](hsize_t a, std::int64_t b) { return a == static_cast<hsize_t>(b); });
  expect(same, path, tensor, "has another shape than the manifest says");
}

// No filter, no piece of it in another file, the very bytes that the manifest's digests cover.
void check_storage(hid_t dataset, const TensorSpec& tensor, std::int64_t offset, const std::string& path) {
  const H5Properties list(H5Dget_create_plist(dataset), "cannot read a dataset's properties");
  expect(H5Pget_layout(list.get()) == H5D_CONTIGUOUS, path, tensor, "is not contiguous");
  expect(H5Pget_external_count(list.get()) == 0, path, tensor, "has its data in another file");
  expect(H5Pget_nfilters(list.get()) == 0, path, tensor, "is filtered");
  const std::int64_t bytes = bytes_of(tensor);
  if (bytes == 0) return;
  expect(H5Dget_storage_size(dataset) == static_cast<hsize_t>(bytes), path, tensor,
         "has another size than the manifest says");
  expect(H5Dget_offset(dataset) == static_cast<haddr_t>(offset), path, tensor, "is elsewhere than the manifest says");
}

void check_dataset(hid_t file, const TensorSpec& tensor, std::int64_t offset, const std::string& path) {
  const H5Dataset dataset(H5Dopen2(file, tensor.name.c_str(), H5P_DEFAULT),
                          ("dataset '" + tensor.name + "' cannot be opened").c_str());
  const H5Type type(H5Dget_type(dataset.get()), "cannot read a type");
  expect(H5Tequal(type.get(), H5T_IEEE_F32LE) > 0, path, tensor, "is not little-endian float32");
  check_shape(dataset.get(), tensor, path);
  check_storage(dataset.get(), tensor, offset, path);
}

}  // namespace

Hdf5Layout lay_out(const std::vector<TensorSpec>& tensors) {
  const Hdf5Session session;
  Hdf5Layout layout;
  const H5Properties access = file_access(layout.image, tensors.size());
  const H5Properties list = creation(H5P_FILE_CREATE);
  H5File file(H5Fcreate("image", H5F_ACC_TRUNC, list.get(), access.get()), "cannot make an HDF5 file");
  for (const TensorSpec& tensor : tensors) layout.offsets.push_back(make_dataset(file.get(), tensor));
  file.close("cannot finish an HDF5 file");
  return layout;
}

void check_layout(Hdf5Image& image, const std::vector<TensorSpec>& tensors, const std::vector<std::int64_t>& offsets,
                  const std::string& path) {
  const Hdf5Session session;
  try {
    const H5Properties access = file_access(image, tensors.size());
    const H5File file(H5Fopen("image", H5F_ACC_RDONLY, access.get()), "not an HDF5 file that can be opened");
    for (std::size_t i = 0; i < tensors.size(); ++i) check_dataset(file.get(), tensors[i], offsets[i], path);
  } catch (const DataError&) {
    throw;
  } catch (const Error& error) {
    throw DataError(path + ": " + error.what());
  }
}

}  // namespace ballast
