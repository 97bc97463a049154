#include "tests/support/tested_backend.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace ballast {
namespace {

constexpr int kSkipped = 77;

std::string variable(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

}  // namespace

std::unique_ptr<Backend> backend_under_test(int threads) {
  return make_backend(
      {.name = variable("TESTED_BACKEND", "cpu"), .threads = threads, .plugins = variable("TESTED_PLUGINS", "")});
}

}  // namespace ballast

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    std::printf("backend: %s\n", ballast::backend_under_test()->description().c_str());
  } catch (const ballast::ConfigError& error) {
    std::printf("skipped: %s\n", error.what());
    return ballast::kSkipped;
  }
  return RUN_ALL_TESTS();
}
