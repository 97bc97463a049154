// Whatever happens to the bytes of a checkpoint on the disk, it is noticed, and the one before it is used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include "checkpoints/checkpoint.h"
#include "compute/error.h"
#include "tests/checkpoints/example_job.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

constexpr const char* kFiles[] = {"manifest.json", "state", "weights.h5", "optimizer.h5"};

// A small checkpoint of step 5 that is there for all tests of this file, and copies of it to damage.
class Damage : public testing::Test {
 protected:
  Damage() { ExampleJob::small().save_alone(real_file_system(), place_.path(), 5); }

  [[nodiscard]] std::string directory() const { return place_.path() + "/" + checkpoint_name(5); }
  [[nodiscard]] std::string path(const std::string& name) const { return directory() + "/" + name; }

  // Empty when opening and verifying see nothing wrong. Whatever is thrown must be an Error of code kData or kVersion.
  [[nodiscard]] std::string noticed() const {
    try {
      Checkpoint::open(real_file_system(), directory()).verify();
      return "";
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ExitCode::kData || error.code() == ExitCode::kVersion) << error.what();
      EXPECT_THAT(error.what(), testing::HasSubstr(directory()));
      return error.what();
    }
  }

  TemporaryDirectory place_{Storage::kMemory};
};

TEST_F(Damage, EverySingleFlippedByteOfEveryFileIsNoticed) {
  ASSERT_EQ(noticed(), "");
  for (const char* name : kFiles) {
    const std::string good = file_text(path(name));
    ASSERT_FALSE(good.empty());
    std::fstream file(path(name), std::ios::binary | std::ios::in | std::ios::out);
    const auto set_byte = [&](std::size_t at, char byte) {
      file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
    };
    for (std::size_t i = 0; i < good.size(); ++i) {
      set_byte(i, static_cast<char>(good[i] ^ (1 << (i % 8))));
      EXPECT_NE(noticed(), "") << name << ", byte " << i;
      set_byte(i, good[i]);
    }
    EXPECT_TRUE(file.good());
  }
  EXPECT_EQ(noticed(), "");
}

TEST_F(Damage, EveryTruncationIsNoticed) {
  for (const char* name : kFiles) {
    const std::string good = file_text(path(name));
    const std::size_t size = good.size();
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{48}, size / 4, size / 2, size - 33, size - 1}) {
      write_file(path(name), good.substr(0, length));
      EXPECT_NE(noticed(), "") << name << " cut to " << length;
    }
    write_file(path(name), good);
  }
}

TEST_F(Damage, AppendedJunkIsNoticed) {
  for (const char* name : kFiles) {
    const std::string good = file_text(path(name));
    for (const char* junk : {"\n", " ", "junk", "{}"}) {
      write_file(path(name), good + junk);
      EXPECT_NE(noticed(), "") << name;
    }
    write_file(path(name), good);
  }
}

TEST_F(Damage, ZeroFilledFilesAreNoticed) {
  for (const char* name : kFiles) {
    const std::string good = file_text(path(name));
    write_file(path(name), std::string(good.size(), '\0'));
    EXPECT_NE(noticed(), "") << name;
    write_file(path(name), good);
  }
}

TEST_F(Damage, FilesOfAnotherStepAreNoticed) {
  ExampleJob::small().save_alone(real_file_system(), place_.path(), 6);
  const std::string other = place_.path() + "/" + checkpoint_name(6);
  for (const char* name : kFiles) {
    const std::string good = file_text(path(name));
    const std::string of_other = file_text(other + "/" + name);
    if (good == of_other) continue;
    write_file(path(name), of_other);
    EXPECT_NE(noticed(), "") << name;
    write_file(path(name), good);
  }
  std::filesystem::rename(other, place_.path() + "/" + checkpoint_name(8));
  std::vector<std::string> warnings;
  EXPECT_EQ(newest_alone(place_.path(), warnings)->step(), 5);
  EXPECT_THAT(warnings, testing::ElementsAre(testing::HasSubstr("different steps")));
}

TEST_F(Damage, AnythingButRegularFilesIsRefusedWithoutWaiting) {
  for (const char* name : kFiles) {
    const std::string file = path(name), aside = file + ".aside";
    std::filesystem::rename(file, aside);
    EXPECT_THAT(noticed(), testing::HasSubstr("no such file")) << name;
    std::filesystem::create_symlink(aside, file);
    EXPECT_THAT(noticed(), testing::HasSubstr("not a regular file")) << name;
    std::filesystem::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    EXPECT_THAT(noticed(), testing::HasSubstr("not a regular file")) << name;
    std::filesystem::remove(file);
    std::filesystem::create_directory(file);
    EXPECT_THAT(noticed(), testing::HasSubstr("not a regular file")) << name;
    std::filesystem::remove(file);
    std::filesystem::rename(aside, file);
  }
  EXPECT_EQ(noticed(), "");
}

TEST_F(Damage, ReadingChecksTheSegmentsItTouchesAndOnlyThose) {
  const ExampleJob job{{{"first", {2000000}}, {"second", {10}}}};
  job.save_alone(real_file_system(), place_.path(), 6);
  const std::string other = place_.path() + "/" + checkpoint_name(6);
  const Checkpoint checkpoint = Checkpoint::open(real_file_system(), other);
  std::string text = file_text(other + "/weights.h5");
  const float last = ExampleJob::value(0, 1999999, 6);
  const std::size_t at = text.rfind(std::string(reinterpret_cast<const char*>(&last), sizeof last));
  ASSERT_NE(at, std::string::npos);
  text[at] = static_cast<char>(text[at] ^ 4);
  write_file(other + "/weights.h5", text);

  std::vector<float> values(10);
  const HostPiece early{0, 5, values}, late{0, 1500000, values};
  checkpoint.read({&early, 1});
  EXPECT_EQ(values[0], ExampleJob::value(0, 5, 6));
  try {
    checkpoint.read({&late, 1});
    ADD_FAILURE() << "read a damaged segment";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("weights.h5: damaged: tensor 'first', elements 1048576 to 2000000"));
  }
}

TEST_F(Damage, TheOneBeforeIsUsedWithAWarningOnEveryWorkerAndTheDamagedOneStays) {
  ExampleJob::small().save_alone(real_file_system(), place_.path(), 6);
  const std::string newest = place_.path() + "/" + checkpoint_name(6);
  std::string text = file_text(newest + "/weights.h5");
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
  write_file(newest + "/weights.h5", text);
  std::atomic<int> right = 0;
  run_workers(3, [&](Communicator& group) {
    std::vector<std::string> warnings;
    const auto found = newest_checkpoint(real_file_system(), group, place_.path(), warnings, Soundness::kVerified);
    EXPECT_TRUE(found.has_value());
    EXPECT_THAT(warnings, testing::ElementsAre(testing::AllOf(testing::HasSubstr("step 6 is passed over"),
                                                              testing::HasSubstr("weights.h5"))));
    if (found && found->step() == 5 && ExampleJob::small().wrong_values(*found, group.rank(), 3, 5) == 0) ++right;
  });
  EXPECT_EQ(right, 3);
  EXPECT_THAT(list_checkpoints(real_file_system(), place_.path()), testing::ElementsAre(6, 5));
}

TEST_F(Damage, AllDamagedIsAnErrorOnEveryWorkerAndNeverAFreshStart) {
  ExampleJob::small().save_alone(real_file_system(), place_.path(), 6);
  write_file(path("state"), "");
  std::filesystem::remove(place_.path() + "/" + checkpoint_name(6) + "/manifest.json");
  std::atomic<int> refused = 0;
  run_workers(3, [&](Communicator& group) {
    std::vector<std::string> warnings;
    try {
      static_cast<void>(newest_checkpoint(real_file_system(), group, place_.path(), warnings, Soundness::kVerified));
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("no checkpoint of the 2 here is sound"));
      ++refused;
    }
  });
  EXPECT_EQ(refused, 3);
}

TEST_F(Damage, ADamagedOneOfTheSameStepIsPutAsideWhenThatStepIsSavedAgain) {
  const std::string good = file_text(path("weights.h5"));
  write_file(path("weights.h5"), std::string(good.size(), 'x'));
  EXPECT_TRUE(ExampleJob::small().save_alone(real_file_system(), place_.path(), 5).ok);
  EXPECT_EQ(noticed(), "");
  EXPECT_THAT(real_file_system().list(place_.path()),
              testing::Contains(testing::StartsWith("damaged-step-000000000005-")));
}

TEST(NoCheckpoint, IsNothingAndNoError) {
  const TemporaryDirectory place;
  std::vector<std::string> warnings;
  EXPECT_FALSE(newest_alone(place.path(), warnings).has_value());
  EXPECT_FALSE(newest_alone(place.path() + "/missing", warnings).has_value());
  for (const char* name :
       {"step-12", "step-00000000001x", "step-0000000000012", ".tmp-step-000000000001-1-1", "other"}) {
    std::filesystem::create_directory(place.path() + "/" + name);
  }
  EXPECT_FALSE(newest_alone(place.path(), warnings).has_value());
  EXPECT_TRUE(warnings.empty());
}

}  // namespace
}  // namespace ballast
