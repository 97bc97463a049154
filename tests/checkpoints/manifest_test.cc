// The manifest as an attacker or a newer program would write it: with a right digest of its own.
#include "checkpoints/format/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "checkpoints/format/digest.h"
#include "compute/error.h"

namespace ballast {
namespace {

const std::string kDigest = "0123456789abcdef0123456789abcdef";

Manifest example() {
  Manifest manifest;
  manifest.step = 42;
  manifest.files = {{"weights.h5", 10000, kDigest}, {"optimizer.h5", 800, kDigest}, {"state", 90, kDigest}};
  manifest.tensors = {{"a", {2, 3}}, {"none", {0}}, {"b", {5}}, {"m/a", {2, 3}, TensorFile::kOptimizer}};
  manifest.offsets = {2048, 0, 2072, 300};
  manifest.segments = {{0, 0, 4, kDigest}, {0, 4, 6, kDigest}, {2, 0, 5, kDigest}, {3, 0, 6, kDigest}};
  return manifest;
}

// The text without its last line, which holds the digest.
std::string body() {
  const std::string text = encode_manifest(example());
  return text.substr(0, text.rfind("\"self\""));
}

std::string sealed(const std::string& body) { return body + "\"self\": \"" + digest_of(body) + "\"}\n"; }

// The body with the first occurrence of `from` replaced.
std::string with(const std::string& from, const std::string& to) {
  std::string text = body();
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

struct Outcome {
  ExitCode code = ExitCode::kOk;
  std::string message;
};

Outcome outcome_of(const std::string& text) {
  try {
    static_cast<void>(decode_manifest(text, "there/manifest.json"));
    return {};
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("there/manifest.json"));
    return {error.code(), error.what()};
  }
}

void expect_refused(const std::string& text, const std::string& why) {
  const Outcome outcome = outcome_of(text);
  EXPECT_EQ(outcome.code, ExitCode::kData) << why;
  EXPECT_THAT(outcome.message, testing::HasSubstr(why));
}

TEST(Manifest, ComesBackAsItWas) {
  const Manifest want = example();
  const Manifest have = decode_manifest(encode_manifest(want), "m");
  EXPECT_EQ(have.step, want.step);
  EXPECT_EQ(have.tensors, want.tensors);
  EXPECT_EQ(have.offsets, want.offsets);
  EXPECT_EQ(encode_manifest(have), encode_manifest(want));
  EXPECT_EQ(sealed(body()), encode_manifest(want));
}

TEST(Manifest, NothingIsParsedBeforeItsDigestIsRight) {
  for (const std::string text : {"", "{}", "\"self\": \"", "\"}\n"})
    expect_refused(text, "does not end in its own digest");
  expect_refused(body() + "\"self\": \"" + kDigest + "\"}\n", "its digest differs");
  std::string upper = sealed(body());
  for (std::size_t i = upper.size() - 34; i < upper.size(); ++i) upper[i] = static_cast<char>(std::toupper(upper[i]));
  expect_refused(upper, "damaged");
}

TEST(Manifest, ANewerFormatIsNotDamage) {
  const Outcome major = outcome_of(sealed(with("\"major\":1", "\"major\":2")));
  EXPECT_EQ(major.code, ExitCode::kVersion);
  EXPECT_THAT(major.message, testing::HasSubstr("format 2.0"));
  const Outcome feature = outcome_of(sealed(with("features\": []", "features\": [\"sharded\"]")));
  EXPECT_EQ(feature.code, ExitCode::kVersion);
  EXPECT_THAT(feature.message, testing::HasSubstr("'sharded'"));
  const std::string later = with("\"minor\":0", "\"minor\":1");
  EXPECT_EQ(outcome_of(sealed(later + "\"notes\": [1, 2],\n")).code, ExitCode::kOk);
  expect_refused(sealed(body() + "\"notes\": 1,\n"), "does not know");
  expect_refused(sealed(with("\"major\":1", "\"major\":0")), "not a version that ever was");
}

TEST(Manifest, FileNamesComeFromAListAndTensorNamesAreHarmless) {
  for (const char* name : {"../x", "/etc/passwd", "weights.h5\\u0000", "state", "weights.H5", ""}) {
    expect_refused(sealed(with("\"name\":\"weights.h5\"", "\"name\":\"" + std::string(name) + "\"")),
                   "is not weights.h5");
    expect_refused(sealed(with("\"file\":\"weights.h5\"", "\"file\":\"" + std::string(name) + "\"")), "neither");
  }
  for (const char* name :
       {"", "..", "a/../b", "/a", "a/", "a//b", "a b", "a\\u0000", "a\\nb", "\\u202eb", "\\u001b[2J"}) {
    expect_refused(sealed(with("\"name\":\"a\"", "\"name\":\"" + std::string(name) + "\"")), "not allowed");
  }
  expect_refused(sealed(with("\"name\":\"a\"", "\"name\":\"" + std::string(513, 'a') + "\"")), "not allowed");
  expect_refused(sealed(with("\"name\":\"b\"", "\"name\":\"a\"")), "the name of another tensor");
}

TEST(Manifest, ShapesCannotOverflow) {
  for (const char* shape : {"[4611686018427387904]", "[4194305,4194305,211106198978564]", "[4294967296,4294967296]",
                            "[2305843009213693952]"}) {
    expect_refused(sealed(with("[2,3]", shape)), "impossibly large");
  }
  expect_refused(sealed(with("[2,3]", "[1,1,1,1,1,1,1,2,3]")), "more than 8 dimensions");
  expect_refused(sealed(with("[2,3]", "[2,4]")), "contradict");
  for (const char* shape :
       {"[-2,-3]", "[2.0,3]", "[2,\"3\"]", "[2,1e999]", "[18446744073709551615]", "[2,3e0]", "[-0]"}) {
    const Outcome outcome = outcome_of(sealed(with("[2,3]", shape)));
    EXPECT_EQ(outcome.code, ExitCode::kData) << shape;
  }
}

TEST(Manifest, TensorsLieInTheirFileAndApart) {
  expect_refused(sealed(with("\"offset\":2072", "\"offset\":2068")), "'b' overlaps");
  expect_refused(sealed(with("\"offset\":2072", "\"offset\":9981")), "'b' reaches beyond the end");
  expect_refused(sealed(with("\"offset\":2072", "\"offset\":9223372036854775807")), "too large");
  expect_refused(sealed(with("\"offset\":0,", "\"offset\":8,")), "yet an offset");
  EXPECT_EQ(outcome_of(sealed(with("\"offset\":2072", "\"offset\":9980"))).code, ExitCode::kOk);
}

TEST(Manifest, SegmentsCoverEachTensorOnce) {
  const std::string first = "[[4,\"" + kDigest + "\"],[6,\"" + kDigest + "\"]]";
  expect_refused(sealed(with(first, "[]")), "leave a hole");
  expect_refused(sealed(with(first, "[[4,\"" + kDigest + "\"]]")), "leave a hole");
  expect_refused(sealed(with("[[4,", "[[6,")), "empty or too long");
  expect_refused(sealed(with("[[4,", "[[0,")), "empty or too long");
  expect_refused(sealed(with("[[4,", "[[7,")), "too large");
  expect_refused(sealed(with("[[4,", "[[4,4,")), "not a pair");
  expect_refused(sealed(with("[[4,\"0", "[[4,\"A")), "32 hexadecimal digits");
  Manifest large = example();
  large.files[0].size = std::int64_t{1} << 40;
  large.tensors[2].shape = {kSegmentElements + 1};
  large.segments[2].end = kSegmentElements + 1;
  expect_refused(encode_manifest(large), "empty or too long");
}

TEST(Manifest, StrictJsonOnly) {
  expect_refused(sealed(with("\"step\": 42", "\"step\": 42,\n\"step\": 43")), "a key appears twice");
  expect_refused(sealed(with("\"offset\":2048", "\"offset\":2048,\"offset\":2048")), "a key appears twice");
  expect_refused(sealed(with("\"offset\":2048", "\"extra\":1,\"offset\":2048")), "does not know");
  expect_refused(sealed(with("\"step\": 42,\n", "")), "has no 'step'");
  expect_refused(sealed(with("\"dtype\":\"f32\"", "\"dtype\":\"f64\"")), "not of type f32");
  expect_refused(sealed(with("\"step\": 42", "\"step\": 1000000000000")), "too large");
  expect_refused(sealed(with("\"name\":\"a\"", "\"name\":\"\xff\"")), "not valid JSON");
  expect_refused(sealed(body() + "]"), "not valid JSON");
  expect_refused(sealed(with("[2,3]", std::string(100000, '[') + std::string(100000, ']'))), "nested too deeply");
  expect_refused(sealed("["), "not valid JSON");
  expect_refused(sealed("[1,"), "not valid JSON");
  expect_refused(sealed("{"), "has no 'format'");
  expect_refused(sealed("{\"format\": 3,"), "is not an object");
}

}  // namespace
}  // namespace ballast
