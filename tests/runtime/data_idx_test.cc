// Tests the format "idx".
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "runtime/dataset.h"
#include "tests/runtime/data_files.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

InputSpec images_of(const Shape& sample, std::int64_t classes = 10) {
  return {.kind = InputSpec::Kind::kFeatures, .sample = sample, .targets_per_sample = 1, .classes = classes};
}

/// `count` images of 2 x 3; pixel p of image i is 10 i + p. Label i is i.
std::string image_bytes(std::uint32_t count) {
  std::string bytes = big_endian(0x803) + big_endian(count) + big_endian(2) + big_endian(3);
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t p = 0; p < 6; ++p) bytes += static_cast<char>(10 * i + p);
  }
  return bytes;
}

std::string label_bytes(std::uint32_t count) {
  std::string bytes = big_endian(0x801) + big_endian(count);
  for (std::uint32_t i = 0; i < count; ++i) bytes += static_cast<char>(i);
  return bytes;
}

std::string write_gzip(const DataFolder& folder, const std::string& name, const std::string& bytes) {
  gzFile file = gzopen(folder.path(name).c_str(), "wb");
  EXPECT_GT(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), 0);
  gzclose(file);
  return folder.path(name);
}

constexpr const char* kImages = "train-images-idx3-ubyte";
constexpr const char* kLabels = "train-labels-idx1-ubyte";

DataSection idx(const std::string& train, double fraction = 0.0) {
  DataSection data;
  data.format = "idx";
  data.train = train;
  data.fraction = fraction;
  return data;
}

std::string data_error_of(const DataSection& config, const InputSpec& input = images_of({6})) {
  return message_of<DataError>([&] { (void)open_datasets(config, input, 1); });
}

TEST(Idx, ReadsImagesAndTheLabelsBesideThem) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(3));
  const Datasets sets = open_datasets(idx(folder.write(kImages, image_bytes(3))), images_of({2, 3, 1}), 1);
  EXPECT_EQ(sets.train->size(), 3);
  EXPECT_EQ(sets.validation->size(), 0);
  Samples samples;
  sets.train->read(std::vector<std::int64_t>{2, 0}, samples);
  EXPECT_THAT(samples.targets, ElementsAre(2, 0));
  EXPECT_EQ(samples.features.size(), 12U);
  EXPECT_FLOAT_EQ(samples.features[0], 20.0F / 127.5F - 1.0F);
  EXPECT_FLOAT_EQ(samples.features[6], -1.0F);
  EXPECT_FLOAT_EQ(samples.features[11], 5.0F / 127.5F - 1.0F);
}

TEST(Idx, GzipGivesTheSameSamples) {
  const DataFolder folder;
  write_gzip(folder, std::string(kLabels) + ".gz", label_bytes(3));
  const std::string path = write_gzip(folder, std::string(kImages) + ".gz", image_bytes(3));
  const Datasets sets = open_datasets(idx(path), images_of({6}), 1);
  Samples samples;
  sets.train->read(std::vector<std::int64_t>{1}, samples);
  EXPECT_THAT(samples.targets, ElementsAre(1));
  EXPECT_FLOAT_EQ(samples.features[5], 15.0F / 127.5F - 1.0F);
}

TEST(Idx, FindsLabelsThatAreCompressedOtherwise) {
  const DataFolder folder;
  write_gzip(folder, std::string(kLabels) + ".gz", label_bytes(3));
  EXPECT_EQ(open_datasets(idx(folder.write(kImages, image_bytes(3))), images_of({6}), 1).train->size(), 3);
}

TEST(Idx, SplitsTheLastImagesOffForValidation) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(8));
  const Datasets sets = open_datasets(idx(folder.write(kImages, image_bytes(8)), 0.25), images_of({6}), 1);
  EXPECT_EQ(sets.train->size(), 6);
  EXPECT_EQ(sets.validation->size(), 2);
  Samples samples;
  sets.validation->read(std::vector<std::int64_t>{1}, samples);
  EXPECT_THAT(samples.targets, ElementsAre(7));
  EXPECT_FLOAT_EQ(samples.features[0], 70.0F / 127.5F - 1.0F);
}

TEST(Idx, TakesNamedLabelsAndANamedValidationSet) {
  const DataFolder folder;
  DataSection data = idx(folder.write("a", image_bytes(4)), 0.5);
  data.train_labels = folder.write("b", label_bytes(4));
  data.validation = folder.write("c", image_bytes(2));
  data.validation_labels = folder.write("d", label_bytes(2));
  const Datasets sets = open_datasets(data, images_of({6}), 1);
  EXPECT_EQ(sets.train->size(), 4);
  EXPECT_EQ(sets.validation->size(), 2);
  data.train_labels.clear();
  EXPECT_THAT(message_of<ConfigError>([&] { (void)open_datasets(data, images_of({6}), 1); }),
              HasSubstr("data.train_labels is missing"));
}

TEST(Idx, RefusesImagesOfAnotherShapeThanTheModels) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(3));
  const std::string path = folder.write(kImages, image_bytes(3));
  for (const Shape& shape : {Shape{7}, Shape{3, 2, 1}, Shape{2, 3, 3}}) {
    EXPECT_THAT(message_of<ConfigError>([&] { (void)open_datasets(idx(path), images_of(shape), 1); }),
                HasSubstr("images of shape [2, 3]"))
        << shape.to_string();
  }
}

TEST(Idx, RefusesALabelOutsideTheClassesWithItsOffset) {
  const DataFolder folder;
  const std::string labels = folder.write(kLabels, label_bytes(4));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, image_bytes(4))), images_of({6}, 3)),
              HasSubstr(labels + ": at byte 11: label 3 of image 3 is outside 0..2"));
}

TEST(Idx, RefusesDifferentNumbersOfImagesAndLabels) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(3));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, image_bytes(4)))), HasSubstr("at byte 4: 3 labels, but"));
}

TEST(Idx, RefusesAWrongMagicNumber) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(3));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, label_bytes(3)))),
              HasSubstr("at byte 0: magic number 0x00000801"));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, "plain text, not images"))), HasSubstr("expected 0x00000803"));
}

TEST(Idx, RefusesTruncatedFilesWithTheOffset) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(3));
  const std::string whole = image_bytes(3);
  for (const std::size_t length : {2UL, 10UL}) {
    EXPECT_THAT(data_error_of(idx(folder.write(kImages, whole.substr(0, length)))),
                HasSubstr("at byte " + std::to_string(length) + ": the file ends here"));
  }
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, whole.substr(0, 30)))),
              HasSubstr("the header promises more data than the file can hold"));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, whole + "x"))), HasSubstr("at byte 34: data after the end"));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, ""))), HasSubstr("the file is empty"));
  folder.write(kLabels, label_bytes(3).substr(0, 10));
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, whole))), HasSubstr(kLabels));
}

TEST(Idx, RefusesADamagedGzipStream) {
  const DataFolder folder;
  folder.write(kLabels, label_bytes(3));
  const std::string name = std::string(kImages) + ".gz";
  const std::string path = write_gzip(folder, name, image_bytes(3));
  const auto size = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, size - 10);
  EXPECT_THAT(data_error_of(idx(path)), AllOf(HasSubstr(path + ": at byte"), HasSubstr("damaged or cut")));
  write_gzip(folder, name, image_bytes(3));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size) - 6);  // the checksum
  file << '\x55' << std::flush;
  EXPECT_THAT(data_error_of(idx(path)), HasSubstr("damaged or cut"));
}

TEST(Idx, TakesNoMemoryForAHeaderThatLies) {
  const DataFolder folder;
  const std::string huge = big_endian(0x803) + big_endian(0xffffffff) + big_endian(0xffffffff) + big_endian(0xffffffff);
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, huge + "xx"))), HasSubstr("promises more data"));
  EXPECT_THAT(data_error_of(idx(write_gzip(folder, std::string(kImages) + ".gz", huge + "xx"))),
              HasSubstr("promises more data"));
  const std::string none = big_endian(0x803) + big_endian(0) + big_endian(2) + big_endian(3);
  EXPECT_THAT(data_error_of(idx(folder.write(kImages, none))), HasSubstr("at byte 4: dimension 0 is 0"));
}

TEST(Idx, ReadsFashionMnistAsDebianShipsIt) {
  const std::string folder = "/usr/share/datasets/fashion-mnist/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "install dataset-fashion-mnist to run this test";
  DataSection data = idx(folder + "train-images-idx3-ubyte.gz");
  data.validation = folder + "t10k-images-idx3-ubyte.gz";
  const Datasets sets = open_datasets(data, images_of({28, 28, 1}), 1);
  EXPECT_EQ(sets.train->size(), 60000);
  EXPECT_EQ(sets.validation->size(), 10000);
  Samples samples;
  sets.train->read(std::vector<std::int64_t>{0, 59999}, samples);
  EXPECT_THAT(samples.targets, ElementsAre(9, 5));
}

}  // namespace
}  // namespace ballast
