// Tests the token formats ("text", "tokens"), "synthetic", and what is common to all formats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <set>

#include "tests/runtime/token_files.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

InputSpec features_of(const Shape& sample, std::int64_t classes) {
  return {.kind = InputSpec::Kind::kFeatures, .sample = sample, .targets_per_sample = 1, .classes = classes};
}

std::string config_error_of(const DataSection& config, const InputSpec& input) {
  return message_of<ConfigError>([&] { (void)open_datasets(config, input, 1); });
}

TEST(Text, SampleIsAWindowAndItsTargetsAreTheNextBytes) {
  const DataFolder folder;
  const Datasets sets = open_datasets(section("text", folder.write("t.txt", "abcdefghij")), tokens_of(3, 256), 1);
  EXPECT_EQ(sets.train->size(), 3);
  const Samples samples = read(*sets.train, {2, 0});
  EXPECT_THAT(samples.tokens, ElementsAre('g', 'h', 'i', 'a', 'b', 'c'));
  EXPECT_THAT(samples.targets, ElementsAre('h', 'i', 'j', 'b', 'c', 'd'));
  EXPECT_TRUE(samples.features.empty());
}

TEST(Text, BytesAbove127AreTokensToo) {
  const DataFolder folder;
  const Datasets sets = open_datasets(section("text", folder.write("t.txt", "\xff\x80z")), tokens_of(2, 256), 1);
  EXPECT_THAT(read(*sets.train, {0}).tokens, ElementsAre(255, 128));
}

TEST(Text, TrainingAndValidationShareNoByte) {
  const DataFolder folder;
  std::string bytes(200, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');  // every byte once: a byte says where it is from
  const Datasets sets = open_datasets(section("text", folder.write("t.txt", bytes), 0.25), tokens_of(7, 256), 1);
  EXPECT_EQ(sets.train->size(), (150 - 1) / 7);
  EXPECT_EQ(sets.validation->size(), (50 - 1) / 7);
  const Samples train = read(*sets.train, all_of(*sets.train));
  const Samples validation = read(*sets.validation, all_of(*sets.validation));
  EXPECT_EQ(validation.tokens.front(), 150);
  EXPECT_LT(*std::max_element(train.targets.begin(), train.targets.end()), 150);
}

TEST(Text, ValidationFileIsUsedWhenNamed) {
  const DataFolder folder;
  DataSection data = section("text", folder.write("t.txt", "abcdefghij"), 0.5);
  data.validation = folder.write("v.txt", "zyxw");
  const Datasets sets = open_datasets(data, tokens_of(3, 256), 1);
  EXPECT_EQ(sets.train->size(), 3);
  EXPECT_THAT(read(*sets.validation, {0}).targets, ElementsAre('y', 'x', 'w'));
}

TEST(Text, FractionZeroGivesAnEmptyValidationSet) {
  const DataFolder folder;
  const Datasets sets = open_datasets(section("text", folder.write("t.txt", "abcdefghij")), tokens_of(3, 256), 1);
  EXPECT_EQ(sets.validation->size(), 0);
}

TEST(Text, RefusesAVocabularyThatCannotHoldBytes) {
  const DataFolder folder;
  EXPECT_THAT(config_error_of(section("text", folder.write("t.txt", "abcdefghij")), tokens_of(3, 128)),
              HasSubstr("model.vocabulary = 128"));
}

TEST(Text, RefusesAFileShorterThanASample) {
  const DataFolder folder;
  const std::string path = folder.write("t.txt", "abc");
  EXPECT_THAT(data_error_of(section("text", path), tokens_of(3, 256)),
              AllOf(HasSubstr(path + ": at byte 3:"), HasSubstr("one sample needs 4")));
  EXPECT_THAT(data_error_of(section("text", folder.write("u.txt", "abcdefg"), 0.1), tokens_of(3, 256)),
              HasSubstr("training end here: 3"));
}

TEST(Text, RefusesMissingAndEmptyFilesByName) {
  const DataFolder folder;
  EXPECT_THAT(data_error_of(section("text", folder.path("none.txt")), tokens_of(3, 256)),
              AllOf(HasSubstr("none.txt"), HasSubstr("No such file")));
  EXPECT_THAT(data_error_of(section("text", folder.write("empty.txt", "")), tokens_of(3, 256)),
              HasSubstr("empty.txt: at byte 0: the file is empty"));
  EXPECT_THAT(data_error_of(section("text", "/dev/null"), tokens_of(3, 256)), HasSubstr("not a regular file"));
  EXPECT_THAT(config_error_of(section("text", ""), tokens_of(3, 256)), HasSubstr("data.train is missing"));
}

TEST(Text, NamesTheByteWhereAFileWasCutDuringTraining) {
  const DataFolder folder;
  const std::string path = folder.write("t.txt", "abcdefghij");
  const Datasets sets = open_datasets(section("text", path), tokens_of(3, 256), 1);
  std::filesystem::resize_file(path, 8);
  EXPECT_THAT(message_of<DataError>([&] { (void)read(*sets.train, {2}); }), HasSubstr(path + ": at byte 8:"));
}

TEST(Text, FingerprintChangesWithContentAndSplit) {
  const DataFolder folder;
  const auto fingerprint = [&](const std::string& text, double fraction) {
    return open_datasets(section("text", folder.write("t.txt", text), fraction), tokens_of(2, 256), 1)
        .train->fingerprint();
  };
  const std::string original = fingerprint("abcdefghij", 0.0);
  EXPECT_EQ(fingerprint("abcdefghij", 0.0), original);
  EXPECT_NE(fingerprint("abcdeFghij", 0.0), original);
  EXPECT_NE(fingerprint("abcdefghijk", 0.0), original);
  EXPECT_NE(fingerprint("abcdefghij", 0.4), original);
}

TEST(Text, FingerprintsAreThoseOfCheckpointsOnDisk) {
  const DataFolder folder;
  std::string text;
  for (int i = 0; i < 500; ++i) text += "abcdefghij";
  const Datasets small = open_datasets(section("text", folder.write("t.txt", text), 0.1), tokens_of(2, 256), 1);
  EXPECT_EQ(small.train->fingerprint(), "5000:bf7193f3aaeabc6d:0+4500");
  EXPECT_EQ(small.validation->fingerprint(), "5000:bf7193f3aaeabc6d:4500+500");
  const std::string path = folder.write("large.txt", "a");
  std::filesystem::resize_file(path, (70 << 20) - 1);  // sparse: larger than what is hashed whole
  std::ofstream(path, std::ios::binary | std::ios::app) << 'z';
  const Datasets large = open_datasets(section("text", path), tokens_of(2, 256), 1);
  EXPECT_EQ(large.train->fingerprint(), "73400320:4958f11c0b7f635c:0+73400320");
  EXPECT_EQ(large.validation->fingerprint(), "73400320:4958f11c0b7f635c:0+0");
}

TEST(Text, FingerprintOfALargeFileSeesItsFirstAndLastByte) {
  const DataFolder folder;
  const std::string path = folder.write("t.txt", "a");
  std::filesystem::resize_file(path, 70 << 20);  // sparse: larger than what is hashed whole
  const auto fingerprint = [&] {
    return open_datasets(section("text", path), tokens_of(2, 256), 1).train->fingerprint();
  };
  const std::string original = fingerprint();
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file << 'z' << std::flush;
  const std::string changed_at_end = fingerprint();
  EXPECT_NE(changed_at_end, original);
  file.seekp(0);
  file << 'z' << std::flush;
  EXPECT_NE(fingerprint(), changed_at_end);
}

TEST(Tokens, ReadsRawLittleEndianTokens) {
  const DataFolder folder;
  const std::string path = folder.write("t.bin", sixteen_bit({1, 300, 50256, 2, 3}));
  const Datasets sets = open_datasets(section("tokens", path), tokens_of(2, 50257), 1);
  EXPECT_EQ(sets.train->size(), 2);
  const Samples samples = read(*sets.train, {0, 1});
  EXPECT_THAT(samples.tokens, ElementsAre(1, 300, 50256, 2));
  EXPECT_THAT(samples.targets, ElementsAre(300, 50256, 2, 3));
}

TEST(Tokens, ReadsTheHeaderOfLlmC) {
  const DataFolder folder;
  const std::string path = folder.write("t.bin", llm_c(20240520, 1, 4, sixteen_bit({7, 8, 9, 10})));
  const Datasets sets = open_datasets(section("tokens", path), tokens_of(3, 11), 1);
  EXPECT_EQ(sets.train->size(), 1);
  EXPECT_THAT(read(*sets.train, {0}).targets, ElementsAre(8, 9, 10));
}

TEST(Tokens, RefusesATokenOutsideTheVocabularyWithItsOffset) {
  const DataFolder folder;
  const std::string raw = folder.write("raw.bin", sixteen_bit({1, 2, 3, 40}));
  EXPECT_THAT(data_error_of(section("tokens", raw), tokens_of(3, 40)),
              HasSubstr(raw + ": at byte 6: token 40 is outside the vocabulary of 40"));
  const std::string headed = folder.write("headed.bin", llm_c(20240520, 1, 4, sixteen_bit({1, 2, 99, 3})));
  EXPECT_THAT(data_error_of(section("tokens", headed), tokens_of(3, 40)), HasSubstr("at byte 1028: token 99"));
  const std::string tail = folder.write("tail.bin", sixteen_bit({1, 2, 3, 4, 5, 6, 41, 8}));
  EXPECT_THAT(data_error_of(section("tokens", tail, 0.5), tokens_of(3, 40)), HasSubstr("at byte 12: token 41"));
}

TEST(Tokens, RefusesFilesThatDoNotFitTheirHeader) {
  const DataFolder folder;
  const std::string tokens = sixteen_bit({1, 2, 3, 4});
  const auto error_of = [&](const std::string& bytes) {
    return data_error_of(section("tokens", folder.write("t.bin", bytes)), tokens_of(3, 40));
  };
  EXPECT_THAT(error_of(llm_c(20240520, 1, 5, tokens)),
              AllOf(HasSubstr("at byte 1032:"), HasSubstr("promises 5 tokens")));
  EXPECT_THAT(error_of(llm_c(20240520, 1, 3, tokens)), HasSubstr("at byte 1030:"));
  EXPECT_THAT(error_of(llm_c(20240520, 2, 4, tokens)), HasSubstr("at byte 4: version 2"));
  EXPECT_THAT(error_of(llm_c(20240801, 7, 4, tokens)), HasSubstr("at byte 0: llm.c file of 32-bit tokens"));
  EXPECT_THAT(error_of(tokens + "x"), HasSubstr("at byte 8: half a token"));
  EXPECT_THAT(error_of(llm_c(20240520, 1, 4, "").substr(0, 100)), HasSubstr("at byte 100:"));
}

TEST(Synthetic, IsAFunctionOfSeedAndIndex) {
  DataSection data = section("synthetic", "", 0.25);
  data.samples = 40;
  const InputSpec input = features_of({6, 5, 2}, 4);
  const Datasets sets = open_datasets(data, input, 1);
  EXPECT_EQ(sets.train->size(), 30);
  EXPECT_EQ(sets.validation->size(), 10);
  const Samples together = read(*sets.train, {3, 17});
  const Samples alone = read(*open_datasets(data, input, 1).train, {17});
  EXPECT_EQ(std::vector<float>(together.features.begin() + 60, together.features.end()), alone.features);
  EXPECT_EQ(together.targets[1], alone.targets[0]);
  EXPECT_NE(read(*open_datasets(data, input, 2).train, {17}).features, alone.features);
}

TEST(Synthetic, ClassesCanBeToldApartByTheirMeans) {
  DataSection data = section("synthetic", "", 0.5);
  data.samples = 800;
  const Datasets sets = open_datasets(data, features_of({20}, 4), 1);
  std::array<std::array<double, 20>, 4> sums{};
  std::array<int, 4> counts{};
  const Samples train = read(*sets.train, all_of(*sets.train));
  for (std::size_t i = 0; i < train.targets.size(); ++i) {
    const auto label = static_cast<std::size_t>(train.targets[i]);
    ++counts[label];
    for (std::size_t e = 0; e < 20; ++e) sums[label][e] += train.features[20 * i + e];
  }
  const Samples validation = read(*sets.validation, all_of(*sets.validation));
  int right = 0;
  for (std::size_t i = 0; i < validation.targets.size(); ++i) {
    std::array<double, 4> distance{};
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t e = 0; e < 20; ++e) {
        const double d = validation.features[20 * i + e] - sums[c][e] / counts[c];
        distance[c] += d * d;
      }
    }
    right += std::min_element(distance.begin(), distance.end()) - distance.begin() == validation.targets[i] ? 1 : 0;
  }
  EXPECT_GT(right, 380);  // of 400
}

TEST(Synthetic, TokensFollowOneRuleNineTimesInTen) {
  DataSection data = section("synthetic", "");
  data.samples = 50;
  const Datasets sets = open_datasets(data, tokens_of(100, 1000), 1);
  const Samples samples = read(*sets.train, all_of(*sets.train));
  EXPECT_LT(*std::max_element(samples.tokens.begin(), samples.tokens.end()), 64);
  std::vector<std::vector<int>> pairs(64, std::vector<int>(64));
  for (std::size_t i = 0; i < samples.tokens.size(); ++i) {
    if (i % 100 != 0) {
      EXPECT_EQ(samples.tokens[i], samples.targets[i - 1]);
    }
    ++pairs[static_cast<std::size_t>(samples.tokens[i])][static_cast<std::size_t>(samples.targets[i])];
  }
  int usual = 0;
  for (const std::vector<int>& after : pairs) usual += *std::max_element(after.begin(), after.end());
  EXPECT_NEAR(usual / 5000.0, 0.9, 0.02);
}

TEST(Synthetic, ValidationHoldsSamplesThatTrainingDoesNot) {
  DataSection data = section("synthetic", "", 0.5);
  data.samples = 20;
  const Datasets sets = open_datasets(data, tokens_of(30, 64), 1);
  std::set<std::vector<std::int32_t>> seen;
  for (std::int64_t i = 0; i < 10; ++i) {
    seen.insert(read(*sets.train, {i}).tokens);
    seen.insert(read(*sets.validation, {i}).tokens);
  }
  EXPECT_EQ(seen.size(), 20U);
}

TEST(OpenDatasets, RefusesFormatsThatAreUnknownOrDoNotFitTheModel) {
  EXPECT_THAT(config_error_of(section("cvs", "x"), tokens_of(3, 256)),
              HasSubstr("\"cvs\" is unknown; known: text, tokens, idx, synthetic"));
  EXPECT_THAT(config_error_of(section("text", "x"), features_of({784}, 10)), HasSubstr("this model takes features"));
  EXPECT_THAT(config_error_of(section("idx", "x"), tokens_of(3, 256)), HasSubstr("this model takes tokens"));
  EXPECT_THAT(config_error_of(section("synthetic", "", 1.0), tokens_of(3, 256)),
              HasSubstr("data.validation, as a fraction"));
}

}  // namespace
}  // namespace ballast
