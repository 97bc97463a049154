#include "comm/transport.h"

#include <gtest/gtest.h>

#include "compute/error.h"

namespace ballast {
namespace {

TEST(Transport, NamesTheNcclThatItWasInstalledWith) { EXPECT_EQ(transport_description(PLUGINS), "NCCL " NCCL_VERSION); }

TEST(Transport, ThatIsNotThereIsAnErrorInTheLoadersWords) {
  try {
    static_cast<void>(transport_description("/nowhere"));
    ADD_FAILURE() << "was found";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/ballast_nccl.so"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ballast
