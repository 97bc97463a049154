#include "launcher/launch/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "compute/error.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Hosts, AreReadAsMpirunReadsThem) {
  EXPECT_THAT(parse_hosts("a:2,b"), ElementsAre(Host{"a", 2}, Host{"b", 1}));
  EXPECT_THAT(parse_hosts("# the cluster\nnode1 slots=8\n\nnode2 slots=4 # slow\nnode3\n"),
              ElementsAre(Host{"node1", 8}, Host{"node2", 4}, Host{"node3", 1}));
}

TEST(Hosts, MistakesAreUsageErrors) {
  for (const char* text : {"", " , ", "a:0", "a:x", "a:", ":2", "a,b,a:2", "a cores=2", "-oProxyCommand=x"}) {
    try {
      (void)parse_hosts(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage) << text;
      EXPECT_THAT(error.what(), testing::StartsWith("launch: "));
    }
  }
}

TEST(Hosts, AFileWinsOverAListOfItsName) {
  const std::string path = testing::TempDir() + "hosts_test_file";
  std::ofstream(path) << "x slots=3\n";
  EXPECT_THAT(read_hosts(path), ElementsAre(Host{"x", 3}));
  EXPECT_THAT(read_hosts("x:3,y"), ElementsAre(Host{"x", 3}, Host{"y", 1}));
}

TEST(Hosts, OfSlurmHaveItsTasks) {
  EXPECT_THAT(slurm_hosts("n1\nn2\nn3\n", "2(x2),1"), ElementsAre(Host{"n1", 2}, Host{"n2", 2}, Host{"n3", 1}));
  EXPECT_THAT(slurm_hosts("n1\n", "4"), ElementsAre(Host{"n1", 4}));
  EXPECT_THAT(slurm_hosts("n1\nn2\n", ""), ElementsAre(Host{"n1", 1}, Host{"n2", 1}));
}

TEST(Hosts, WorkersAreSpreadOverAllOfThem) {
  EXPECT_THAT(spread({4, 4}, 4), ElementsAre(2, 2));
  EXPECT_THAT(spread({1, 4, 2}, 5), ElementsAre(1, 2, 2));
  EXPECT_THAT(spread({2, 0, 1}, 9), ElementsAre(2, 0, 1));
  EXPECT_THAT(spread({0, 0}, 3), ElementsAre(0, 0));
  EXPECT_THAT(spread({}, 3), ElementsAre());
}

TEST(Hosts, ThisMachineIsKnownByNameAndAddress) {
  std::array<char, 256> name{};
  ASSERT_EQ(gethostname(name.data(), name.size() - 1), 0);
  EXPECT_TRUE(is_this_machine(name.data()));
  EXPECT_TRUE(is_this_machine("localhost"));
  EXPECT_TRUE(is_this_machine("127.0.0.1"));
  EXPECT_FALSE(is_this_machine("192.0.2.1"));  // of documentation: nobody's
}

}  // namespace
}  // namespace ballast
