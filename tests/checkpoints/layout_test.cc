// The HDF5 structure: what we lay out, and what crafted files are refused for. Crafted images have no digest to stop
// them here.
#include "checkpoints/hdf5/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "checkpoints/format/regions.h"
#include "checkpoints/hdf5/library.h"
#include "compute/error.h"

namespace ballast {
namespace {

const std::vector<TensorSpec> kOne = {{"a", {4}}};

// An image with whatever `fill` makes.
Hdf5Image crafted(const std::function<void(hid_t)>& fill) {
  const Hdf5Session session;
  Hdf5Image image;
  const H5Properties access(H5Pcreate(H5P_FILE_ACCESS), "access");
  set_image_driver(access.get(), image);
  H5File file(H5Fcreate("image", H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "file");
  fill(file.get());
  file.close("close");
  return image;
}

void make(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& dims,
          const std::function<void(hid_t)>& change = {}) {
  const H5Space space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), "space");
  const H5Properties list(H5Pcreate(H5P_DATASET_CREATE), "list");
  H5Pset_alloc_time(list.get(), H5D_ALLOC_TIME_EARLY);
  if (change) change(list.get());
  const H5Dataset dataset(H5Dcreate2(file, name, type, space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT), "dataset");
}

std::string refusal(Hdf5Image image, const std::vector<TensorSpec>& tensors, const std::vector<std::int64_t>& offsets) {
  try {
    check_layout(image, tensors, offsets, "there/weights.h5");
    return "";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("there/weights.h5: "));
    return error.what();
  }
}

TEST(Layout, IsFoundAsItWasMade) {
  const std::vector<TensorSpec> tensors = {{"m/x/a", {4}}, {"m/x/b", {1000, 1000}}, {"m/none", {3, 0}}, {"scalar", {}}};
  const Hdf5Layout layout = lay_out(tensors);
  EXPECT_EQ(refusal(layout.image, tensors, layout.offsets), "");
  EXPECT_EQ(layout.offsets[1] % 4096, 0);
  EXPECT_NO_THROW(metadata_ranges(tensors, layout.offsets, TensorFile::kWeights, layout.image.size(), "x"));
}

TEST(Layout, DiffersFromTheManifestInAnyPoint) {
  const std::vector<TensorSpec> tensors = {{"a", {4, 2}}, {"b", {8}}};
  const Hdf5Layout layout = lay_out(tensors);
  const auto& offsets = layout.offsets;
  EXPECT_THAT(refusal(layout.image, {{"c", {4, 2}}, tensors[1]}, offsets), testing::HasSubstr("'c' cannot be opened"));
  EXPECT_THAT(refusal(layout.image, {{"a", {8}}, tensors[1]}, offsets), testing::HasSubstr("number of dimensions"));
  EXPECT_THAT(refusal(layout.image, {{"a", {2, 4}}, tensors[1]}, offsets), testing::HasSubstr("another shape"));
  EXPECT_THAT(refusal(layout.image, tensors, {offsets[0] + 4, offsets[1]}), testing::HasSubstr("elsewhere"));
  EXPECT_THAT(refusal(layout.image, tensors, {offsets[1], offsets[0]}), testing::HasSubstr("'a' is elsewhere"));
}

TEST(Layout, OtherTypesFiltersAndChunksAreRefused) {
  const auto with = [](hid_t type, const std::function<void(hid_t)>& change) {
    return refusal(crafted([&](hid_t file) { make(file, "a", type, {4}, change); }), kOne, {2048});
  };
  EXPECT_THAT(with(H5T_IEEE_F32BE, {}), testing::HasSubstr("not little-endian float32"));
  EXPECT_THAT(with(H5T_STD_I32LE, {}), testing::HasSubstr("not little-endian float32"));
  const hsize_t chunk = 2;
  EXPECT_THAT(with(H5T_IEEE_F32LE, [&](hid_t list) { H5Pset_chunk(list, 1, &chunk); }),
              testing::HasSubstr("not contiguous"));
  EXPECT_THAT(with(H5T_IEEE_F32LE, [](hid_t list) { H5Pset_layout(list, H5D_COMPACT); }),
              testing::HasSubstr("not contiguous"));
}

TEST(Layout, DataAndLinksInOtherFilesAreRefused) {
  const auto external = crafted([](hid_t file) {
    make(file, "a", H5T_IEEE_F32LE, {4}, [](hid_t list) { H5Pset_external(list, "/etc/passwd", 0, 16); });
  });
  EXPECT_THAT(refusal(external, kOne, {2048}), testing::HasSubstr("in another file"));
  const auto link = crafted([](hid_t file) {
    EXPECT_LT(H5Lcreate_external("/etc/passwd", "/a", file, "a", H5P_DEFAULT, H5P_DEFAULT), 0)
        << "external links are off";
    H5Lcreate_soft("/b", file, "a", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_THAT(refusal(link, kOne, {2048}), testing::HasSubstr("cannot be opened"));
}

TEST(Layout, WhatIsNotHdf5IsRefused) {
  Hdf5Image junk;
  const std::string text(4096, 'j');
  junk.write(0, std::as_bytes(std::span(text)));
  EXPECT_THAT(refusal(junk, kOne, {2048}), testing::HasSubstr("not an HDF5 file"));
  EXPECT_THAT(refusal(Hdf5Image(), kOne, {2048}), testing::HasSubstr("not an HDF5 file"));
  Hdf5Layout cut = lay_out({{"a", {4}}});
  cut.image.resize(cut.image.size() - 1);
  EXPECT_THAT(refusal(cut.image, kOne, cut.offsets), testing::HasSubstr("truncated"));
}

TEST(Image, ReadsWhatWasWrittenAcrossPagesAndZerosElsewhere) {
  Hdf5Image image;
  const std::string text(10000, 'x');
  image.write(5000, std::as_bytes(std::span(text)));
  EXPECT_EQ(image.size(), 15000);
  std::string back(20000, '?');
  image.read(0, std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, std::string(5000, '\0') + text + std::string(5000, '\0'));
}

}  // namespace
}  // namespace ballast
