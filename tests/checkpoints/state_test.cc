// The training state's frame and archive, whole, damaged and crafted.
#include "checkpoints/format/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "checkpoints/format/digest.h"
#include "compute/error.h"
#include "tests/checkpoints/example_job.h"

namespace ballast {
namespace {

constexpr std::size_t kFrame = 52;

// A right frame around any archive.
std::string framed(const std::string& archive, std::uint32_t version = 1) {
  std::string text = "BALLAST\n";
  const std::uint64_t size = archive.size();
  text.append(reinterpret_cast<const char*>(&version), sizeof version);
  text.append(reinterpret_cast<const char*>(&size), sizeof size);
  return text + digest_of(text + archive) + archive;
}

std::string archive() { return encode_state(ExampleJob::state(3)).substr(kFrame); }

void expect_refused(const std::string& text, const std::string& why) {
  try {
    static_cast<void>(decode_state(text, "there/state"));
    ADD_FAILURE() << "accepted: " << why;
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("there/state: "));
    EXPECT_THAT(error.what(), testing::HasSubstr(why));
  }
}

TEST(State, HasTheSameBytesAlways) {
  EXPECT_EQ(encode_state(ExampleJob::state(3)), encode_state(ExampleJob::state(3)));
  EXPECT_EQ(framed(archive()), encode_state(ExampleJob::state(3)));
}

TEST(State, KeepsNumbersThatAreNone) {
  TrainingState state;
  state.numbers = {{"nan", std::nan("")}, {"minus", -std::numeric_limits<double>::infinity()}, {"zero", -0.0}};
  const TrainingState back = decode_state(encode_state(state), "s");
  EXPECT_TRUE(std::isnan(back.numbers.at("nan")));
  EXPECT_EQ(back.numbers.at("minus"), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::signbit(back.numbers.at("zero")));
}

TEST(State, EveryTruncationAndEveryFlippedBitOfTheFileIsNoticed) {
  const std::string good = encode_state(ExampleJob::state(3));
  for (std::size_t size = 0; size < good.size(); ++size) expect_refused(good.substr(0, size), "damaged");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    expect_refused(bad, "damaged");
  }
}

TEST(State, ArchivesOfAnyLengthInARightFrameAreRefused) {
  const std::string good = archive();
  for (std::size_t size = 0; size < good.size(); ++size) expect_refused(framed(good.substr(0, size)), "");
  expect_refused(framed(good + "x"), "left over");
}

TEST(State, LengthsInACraftedArchiveCannotAskForMoreThanTheArchiveHas) {
  for (std::size_t at = 0; at + 8 <= archive().size(); ++at) {
    for (const std::uint64_t length : {std::uint64_t{1} << 28, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
      std::string bad = archive();
      std::memcpy(bad.data() + at, &length, sizeof length);
      try {
        static_cast<void>(decode_state(framed(bad), "s"));
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), testing::StartsWith("s: "));
      }
    }
  }
}

TEST(State, ANewerVersionIsNotDamage) {
  try {
    static_cast<void>(decode_state(framed(archive(), 2), "s"));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kVersion);
  }
  expect_refused(framed(archive(), 0), "never was");
}

}  // namespace
}  // namespace ballast
