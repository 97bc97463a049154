#include "launcher/find_checkpoint.h"

#include <gtest/gtest.h>

#include "compute/error.h"
#include "tests/launcher/run_program.h"

namespace ballast {
namespace {

class FindCheckpoint : public testing::Test {
 protected:
  void make(const std::string& path) { std::filesystem::create_directories(folder_.path() + '/' + path); }
  std::string find(const std::string& path) { return find_checkpoint(real_file_system(), folder_.path() + path); }
  std::string under(const std::string& path) { return folder_.path() + path; }

 private:
  TemporaryFolder folder_;
};

TEST_F(FindCheckpoint, TakesARunFolderACheckpointsFolderOrACheckpoint) {
  make("run/checkpoints/step-000000000002");
  make("run/checkpoints/step-000000000010");
  const std::string newest = under("/run/checkpoints/step-000000000010");
  EXPECT_EQ(find("/run"), newest);
  EXPECT_EQ(find("/run/"), newest);
  EXPECT_EQ(find("/run/checkpoints"), newest);
  EXPECT_EQ(find("/run/checkpoints/step-000000000002//"), under("/run/checkpoints/step-000000000002"));
  EXPECT_EQ(checkpoints_folder(real_file_system(), under("/run")), under("/run/checkpoints"));
  EXPECT_EQ(checkpoints_folder(real_file_system(), newest), std::nullopt);
}

TEST_F(FindCheckpoint, RefusesAnythingElse) {
  make("empty");
  EXPECT_THROW((void)find("/empty"), DataError);
  EXPECT_THROW((void)find("/missing"), DataError);
}

}  // namespace
}  // namespace ballast
