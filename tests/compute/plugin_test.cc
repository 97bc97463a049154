#include "compute/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "compute/backend.h"
#include "compute/devices.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

/// The text of the ConfigError that `call` throws; what it was otherwise.
template <class Call>
std::string config_error_of(const Call& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("not a ConfigError: ") + error.what();
  }
  return "no error";
}

TEST(Plugin, SaysInTheLoadersWordsThatAFileIsMissing) {
  const std::string error = config_error_of([] { (void)Plugin::open("/nowhere", "ballast_cuda.so"); });
  EXPECT_THAT(error, HasSubstr("/nowhere/ballast_cuda.so: cannot open shared object file"));
}

TEST(Plugin, RefusesAFileThatIsNoLibrary) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "plugin_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "ballast_cuda.so") << "not a library";
  const std::string error = config_error_of([&] { (void)Plugin::open(folder.string(), "ballast_cuda.so"); });
  EXPECT_THAT(error, HasSubstr("ballast_cuda.so"));
  EXPECT_THAT(error, HasSubstr("ballast_cuda.so: file too short"));
  std::filesystem::remove_all(folder);
}

TEST(Backend, NamesTheKeyWhenThePluginIsMissing) {
  BackendOptions options;
  options.name = "cuda";
  options.plugins = "/nowhere";
  const std::string error = config_error_of([&] { (void)make_backend(options); });
  EXPECT_THAT(error, HasSubstr("compute.backend = \"cuda\": /nowhere/ballast_cuda.so"));
}

TEST(Devices, ReportAProblemInsteadOfThrowing) {
  const DeviceReport report = find_devices("/nowhere");
  EXPECT_TRUE(report.devices.empty());
  EXPECT_THAT(report.problem, HasSubstr("/nowhere/ballast_cuda.so"));
}

}  // namespace
}  // namespace ballast
