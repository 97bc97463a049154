// Data sets of many files: which files, in which order, what a sample is, what is refused, and what is read when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <thread>

#include "runtime/data/first_look.h"
#include "tests/runtime/token_files.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// The first token of every sample, as text.
std::string firsts(const Dataset& data, std::int64_t positions) {
  std::string text;
  const Samples samples = read(data, all_of(data));
  for (std::size_t i = 0; i < samples.tokens.size(); i += static_cast<std::size_t>(positions))
    text += static_cast<char>(samples.tokens[i]);
  return text;
}

std::string firsts_of(const std::string& path) {
  return firsts(*open_datasets(section("text", path), tokens_of(1, 256), 1).train, 1);
}

std::string text_error_of(const std::string& path) { return data_error_of(section("text", path), tokens_of(1, 256)); }

TEST(FilesOf, AFolderComeInTheOrderOfTheirBytesWithoutHiddenFilesAndFolders) {
  const DataFolder folder;
  for (const char* name : {"b", "B", "_", "a10", "a9", "\xc3\xa9"})
    folder.write(name, std::string(name).back() + std::string("!"));
  folder.write(".hidden", "h!");
  std::filesystem::create_directory(folder.path("A"));
  folder.write("A/inside", "i!");
  EXPECT_EQ(firsts_of(folder.path("")), "B_09b\xa9");
  EXPECT_EQ(firsts_of(std::filesystem::path(folder.path("x")).parent_path()), "B_09b\xa9") << "without the last slash";
}

TEST(FilesOf, APatternAreThoseWhoseWholeNameFits) {
  const DataFolder folder;
  for (const char* name :
       {"train_1.bin", "train_2.bin", "train_10.bin", "val_3.bin", "train_4.txt", ".train_5.bin", "[ab].bin"})
    folder.write(name, std::string(name).substr(std::string(name).size() - 5, 1) + "!");
  EXPECT_EQ(firsts_of(folder.path("train_*.bin")), "102");
  EXPECT_EQ(firsts_of(folder.path("train_?.bin")), "12");
  EXPECT_EQ(firsts_of(folder.path("*_?.*")), "1243");
  EXPECT_EQ(firsts_of(folder.path("*n_*2*")), "2");
  EXPECT_EQ(firsts_of(folder.path("[a?].bin")), "]") << "brackets are characters like others";
  EXPECT_EQ(firsts_of(folder.path("**")), "]10243");
}

TEST(FilesOf, APathAtWhichThereIsAFileIsNoPattern) {
  const DataFolder folder;
  folder.write("a*", "1!");
  folder.write("ab", "2!");
  EXPECT_EQ(firsts_of(folder.path("a*")), "1");
}

TEST(FilesOf, NothingAreRefusedInOneLine) {
  const DataFolder folder;
  EXPECT_THAT(text_error_of(folder.path("")), HasSubstr("holds no files"));
  folder.write(".hidden", "h!");
  EXPECT_THAT(text_error_of(folder.path("")), HasSubstr("holds no files"));
  EXPECT_THAT(text_error_of(folder.path("train_*.bin")),
              AllOf(HasSubstr("train_*.bin: no file matches"), Not(HasSubstr("\n"))));
  EXPECT_THAT(
      text_error_of(folder.path("no*where/train_*.bin")),
      AllOf(HasSubstr("no*where: cannot be read: No such file"), HasSubstr("* and ? may stand in its last part")));
}

TEST(FilesOf, ASetAreRefusedByNameWhenOneIsEmptyOrMissing) {
  const DataFolder folder;
  folder.write("a", "1!");
  const std::string empty = folder.write("b", "");
  EXPECT_THAT(text_error_of(folder.path("")), HasSubstr(empty + ": at byte 0: the file is empty"));
  std::filesystem::remove(empty);
  std::filesystem::create_symlink(folder.path("nowhere"), folder.path("c"));
  EXPECT_THAT(text_error_of(folder.path("")), HasSubstr(folder.path("c") + ": cannot be opened: No such file"));
}

TEST(FilesOf, IdxIsOneFile) {
  const DataFolder folder;
  const InputSpec input{.kind = InputSpec::Kind::kFeatures, .sample = {4}, .targets_per_sample = 1, .classes = 10};
  for (const char* path : {"", "images-*"}) {
    EXPECT_THAT(data_error_of(section("idx", folder.path(path)), input), HasSubstr("reads one file of images"));
  }
}

TEST(Windows, DoNotCrossFilesAndLeaveOutFilesThatAreTooShort) {
  const DataFolder folder;
  folder.write("1", "abcdefghi");  // two windows of 3 + 1
  folder.write("2", "jkl");
  folder.write("3", "mnop");
  folder.write("4", "q");
  folder.write("5", "rstuvwx");
  const Datasets sets = open_datasets(section("text", folder.path("")), tokens_of(3, 256), 1);
  EXPECT_EQ(sets.train->size(), 5);
  EXPECT_EQ(firsts(*sets.train, 3), "admru");
  const Samples samples = read(*sets.train, {4, 1, 2});
  EXPECT_THAT(samples.tokens, ElementsAre('u', 'v', 'w', 'd', 'e', 'f', 'm', 'n', 'o'));
  EXPECT_THAT(samples.targets, ElementsAre('v', 'w', 'x', 'e', 'f', 'g', 'n', 'o', 'p'));
}

TEST(Windows, OfFilesThatAreAllTooShortAreRefusedWithTheLongest) {
  const DataFolder folder;
  folder.write("1", "ab");
  const std::string longest = folder.write("2", "abc");
  EXPECT_THAT(data_error_of(section("text", folder.path("")), tokens_of(3, 256)),
              AllOf(HasSubstr(longest + ": at byte 3:"), HasSubstr("one sample needs 4")));
}

/// Three files of 100 bytes, every byte of the set once in 0..249 and then again.
std::string write_three_hundred_bytes(const DataFolder& folder) {
  std::string bytes(300, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i % 250);
  for (std::size_t i = 0; i < 3; ++i) folder.write("part" + std::to_string(i), bytes.substr(100 * i, 100));
  return folder.path("part*");
}

TEST(Windows, OfValidationAreSplitOffTheLastFiles) {
  const DataFolder folder;
  const std::string path = write_three_hundred_bytes(folder);
  const Datasets sets = open_datasets(section("text", path, 0.5), tokens_of(7, 256), 1);
  EXPECT_EQ(sets.train->size(), (100 - 1) / 7 + (50 - 1) / 7);
  EXPECT_EQ(sets.validation->size(), (50 - 1) / 7 + (100 - 1) / 7);
  EXPECT_EQ(read(*sets.validation, {0}).tokens.front(), 150);
  EXPECT_EQ(read(*sets.validation, {(50 - 1) / 7}).tokens.front(), 200);
  const Samples train = read(*sets.train, all_of(*sets.train));
  EXPECT_LT(*std::max_element(train.targets.begin(), train.targets.end()), 150);
  const Datasets last = open_datasets(section("text", path, 1.0 / 3), tokens_of(7, 256), 1);
  EXPECT_EQ(last.train->size(), 2 * ((100 - 1) / 7));
  EXPECT_EQ(read(*last.validation, {0}).tokens.front(), 200);
}

TEST(Windows, OfValidationAreAtLeastOneEvenWhenTheLastFilesAreShort) {
  const DataFolder folder;
  folder.write("1", "abcdefghijklmnopqrst");
  folder.write("2", "uv");
  folder.write("3", "wx");
  const Datasets sets = open_datasets(section("text", folder.path(""), 0.1), tokens_of(3, 256), 1);
  EXPECT_EQ(firsts(*sets.validation, 3), "q");
  EXPECT_EQ(firsts(*sets.train, 3), "adgjm");
}

TEST(Windows, OfValidationMayBeSeveralFilesOfTheirOwn) {
  const DataFolder folder;
  for (const char* name : {"train_1", "train_2", "val_1", "val_2"})
    folder.write(name, std::string(name).substr(0, 1) + std::string(name).back());
  DataSection data = section("text", folder.path("train_*"));
  data.validation = folder.path("val_*");
  const Datasets sets = open_datasets(data, tokens_of(1, 256), 1);
  EXPECT_EQ(firsts(*sets.train, 1), "tt");
  EXPECT_EQ(firsts(*sets.validation, 1), "vv");
}

TEST(TokenFiles, AreReadWithTheHeadersOfLlmC) {
  const DataFolder folder;
  folder.write("1", llm_c(20240520, 1, 4, sixteen_bit({7, 8, 9, 10})));
  folder.write("2", llm_c(20240520, 1, 5, sixteen_bit({300, 301, 302, 303, 304})));
  const Datasets sets = open_datasets(section("tokens", folder.path("")), tokens_of(2, 400), 1);
  EXPECT_EQ(sets.train->size(), 3);
  EXPECT_THAT(read(*sets.train, {0, 2}).targets, ElementsAre(8, 9, 303, 304));
}

TEST(TokenFiles, AreRefusedByTheNameOfTheOneThatDiffers) {
  const DataFolder folder;
  const std::string sound = llm_c(20240520, 1, 4, sixteen_bit({7, 8, 9, 10}));
  folder.write("1", sound);
  folder.write("3", sound);
  const auto error_with = [&](const std::string& bytes) {
    folder.write("2", bytes);
    return data_error_of(section("tokens", folder.path("")), tokens_of(2, 40));
  };
  const std::string second = folder.path("2");
  EXPECT_THAT(error_with(sound.substr(0, 1031)), HasSubstr(second + ": at byte 1031: the header promises 4 tokens"));
  EXPECT_THAT(error_with("x" + sound), HasSubstr(second + ": at byte 1032: half a token"));
  EXPECT_THAT(error_with(sound.substr(1024)), AllOf(HasSubstr(second + ": at byte 0: a header of 0 bytes"),
                                                    HasSubstr(folder.path("1") + " has one of 1024")));
  EXPECT_THAT(error_with(llm_c(20240520, 1, 4, sixteen_bit({7, 8, 99, 10}))),
              HasSubstr(second + ": at byte 1028: token 99"));
  EXPECT_EQ(error_with(sound), "");
}

TEST(Fingerprint, OfOneFileInAFolderIsThatOfTheFile) {
  const DataFolder folder;
  const std::string path = folder.write("t", "abcdefghij");
  const auto fingerprint = [](const std::string& of) {
    return open_datasets(section("text", of), tokens_of(2, 256), 1).train->fingerprint();
  };
  EXPECT_EQ(fingerprint(folder.path("")), fingerprint(path));
}

TEST(Fingerprint, ChangesWithNamesSizesContentAndSplit) {
  const auto fingerprint = [](const std::vector<std::pair<std::string, std::string>>& files, double fraction = 0.0) {
    const DataFolder folder;  // another one each time: where the data lies does not matter
    for (const auto& [name, bytes] : files) folder.write(name, bytes);
    return open_datasets(section("text", folder.path(""), fraction), tokens_of(1, 256), 1).train->fingerprint();
  };
  const std::string original = fingerprint({{"1", "abc"}, {"2", "defg"}});
  EXPECT_THAT(original, HasSubstr("2 files, 7:"));
  EXPECT_EQ(fingerprint({{"1", "abc"}, {"2", "defg"}}), original);
  EXPECT_NE(fingerprint({{"1", "abc"}, {"2", "deFg"}}), original);
  EXPECT_NE(fingerprint({{"1", "abc"}, {"3", "defg"}}), original);
  EXPECT_NE(fingerprint({{"1", "abcd"}, {"2", "efg"}}), original);
  EXPECT_NE(fingerprint({{"1", "abc"}, {"2", "defg"}, {"3", "h"}}), original);
  EXPECT_NE(fingerprint({{"1", "abc"}, {"2", "defg"}}, 0.4), original);
}

std::int64_t bytes_of(const std::vector<Extent>& extents) {
  return std::accumulate(extents.begin(), extents.end(), std::int64_t{0},
                         [](std::int64_t sum, const Extent& extent) { return sum + extent.count; });
}

TEST(FirstLook, IsEverythingUpTo64MiB) {
  const std::array<std::int64_t, 5> sizes = {3, 0, (1 << 20) - 1, 5 << 20, 1};
  std::array<std::int64_t, 5> next{};
  for (const Extent& extent : first_look(sizes)) {
    EXPECT_EQ(extent.first, next[extent.part]);
    next[extent.part] += extent.count;
  }
  EXPECT_EQ(next, sizes);
}

TEST(FirstLook, IsAtMost64PlacesOfALargeSetTheFirstAndLastByteAmongThem) {
  const std::vector<std::int64_t> sizes(10'000, 200'000'001);
  const std::vector<Extent> extents = first_look(sizes);
  EXPECT_EQ(bytes_of(extents), 64 << 20);
  EXPECT_LE(extents.size(), 2U * 64);
  EXPECT_EQ(extents.front().part, 0U);
  EXPECT_EQ(extents.front().first, 0);
  EXPECT_EQ(extents.back().part, 9'999U);
  EXPECT_EQ(extents.back().first + extents.back().count, sizes.back());
  for (std::size_t i = 1; i < extents.size(); ++i)
    EXPECT_LE(extents[i].part - extents[i - 1].part, 10'000U / 63 + 1) << "evenly spread";
}

/// Bytes that this process has read so far; negative where the kernel does not count.
std::int64_t bytes_read() {
  std::ifstream file("/proc/self/io");
  std::string name;
  std::int64_t count = -1;
  file >> name >> count;
  return count;
}

/// `count` sparse files of `bytes`, of token 0.
std::string write_large_files(const DataFolder& folder, int count, std::int64_t bytes) {
  for (int i = 0; i < count; ++i) {
    const std::string path = folder.write("large_" + std::to_string(1000 + i), "\0");
    std::filesystem::resize_file(path, static_cast<std::uintmax_t>(bytes));
  }
  return folder.path("large_*");
}

TEST(LargeSets, AreOpenedByALookAndThenReadAtTheirSamples) {
  if (bytes_read() < 0) GTEST_SKIP() << "/proc/self/io is not there";
  constexpr std::int64_t kMiB = 1 << 20;
  const DataFolder folder;
  const std::string path = write_large_files(folder, 200, 32 * kMiB);  // 6.25 GiB, without taking room
  const std::int64_t before = bytes_read();
  const Datasets sets = open_datasets(section("tokens", path, 0.1), tokens_of(1023, 50257), 1);
  const std::int64_t opened = bytes_read();
  EXPECT_LT(opened - before, 3 * 64 * kMiB + kMiB) << "fingerprint, and vocabulary of both parts";
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < 500; ++i) indices.push_back(sets.train->size() / 500 * i);
  static_cast<void>(read(*sets.train, indices));
  EXPECT_LT(bytes_read() - opened, 500 * 2048 + 4096) << "500 samples of 1024 tokens, and the numbers themselves";
}

TEST(LargeSets, ShowAWrongVocabularyAtTheirEndToo) {
  const DataFolder folder;
  const std::string path = write_large_files(folder, 20, 8 << 20);
  const std::string last = folder.path("large_1019");
  std::filesystem::resize_file(last, (8 << 20) - 2);
  std::ofstream(last, std::ios::binary | std::ios::app) << sixteen_bit({50257});
  EXPECT_THAT(data_error_of(section("tokens", path), tokens_of(1023, 50257)),
              HasSubstr(last + ": at byte 8388606: token 50257"));
}

class ManyFiles : public testing::Test {
 protected:
  static constexpr std::int64_t kFiles = 1000;
  ManyFiles() {
    for (std::uint32_t i = 0; i < kFiles; ++i)
      folder_.write(std::to_string(10'000 + i), sixteen_bit({i, i + 1, i + 2}));
  }
  [[nodiscard]] Datasets open() const {
    return open_datasets(section("tokens", folder_.path("")), tokens_of(1, 5000), 1);
  }

  DataFolder folder_;
};

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_F(ManyFiles, AreReadWithFewOfThemOpen) {
  const std::size_t before = open_descriptors();
  const Datasets sets = open();
  EXPECT_EQ(open_descriptors(), before) << "nothing is open before a sample is read";
  ASSERT_EQ(sets.train->size(), 2 * kFiles);
  for (const std::int64_t stride : {1, 777}) {
    for (std::int64_t i = 0; i < 2 * kFiles; ++i) {
      const std::int64_t index = i * stride % (2 * kFiles);
      EXPECT_THAT(read(*sets.train, {index}).tokens, ElementsAre(index / 2 + index % 2));
    }
  }
  EXPECT_LE(open_descriptors(), before + 64);
}

TEST_F(ManyFiles, AreReadByManyThreads) {
  const Datasets sets = open();
  std::vector<std::thread> threads;
  std::array<std::int64_t, 4> wrong{};
  for (std::int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 2 * kFiles; ++i) {
        const std::int64_t index = (i * (2 * t + 7) + t) % (2 * kFiles);
        if (read(*sets.train, {index}).tokens.front() != index / 2 + index % 2) ++wrong[static_cast<std::size_t>(t)];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST_F(ManyFiles, AreRefusedWhenOneHasAnotherSizeThanAtTheStart) {
  const Datasets sets = open();
  const std::string path = folder_.path("10500");
  std::ofstream(path, std::ios::binary | std::ios::app) << "xy";
  EXPECT_THAT(read(*sets.train, {999}).tokens, ElementsAre(500));
  EXPECT_THAT(message_of<DataError>([&] { (void)read(*sets.train, {1000}); }),
              HasSubstr(path + ": at byte 6: the file has 8 bytes, but had 6 when the job started"));
}

}  // namespace
}  // namespace ballast
