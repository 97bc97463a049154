// The real file system: what it refuses and what its errors say.
#include "checkpoints/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "compute/error.h"
#include "tests/checkpoints/example_job.h"

namespace ballast {
namespace {

class FileSystemTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return place_.path() + "/" + name; }
  // The code and the text of what `body` throws.
  static std::pair<ExitCode, std::string> thrown(const std::function<void()>& body) {
    try {
      body();
      return {ExitCode::kOk, ""};
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
  }

  FileSystem& files_ = real_file_system();
  TemporaryDirectory place_;
};

TEST_F(FileSystemTest, WritesAndReadsAnywhereInAFile) {
  const auto file = files_.create(path("a"));
  file->allocate(10);
  EXPECT_EQ(file->size(), 10);
  file->write_at(3, std::as_bytes(std::span("xyz", 3)));
  file->sync();
  file->close();
  std::string text(10, '?');
  const auto read = files_.open_read(path("a"));
  read->read_at(0, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, std::string("\0\0\0xyz\0\0\0\0", 10));
  const auto again = files_.open_write(path("a"));
  again->write_at(0, std::as_bytes(std::span("W", 1)));
  read->read_at(0, std::as_writable_bytes(std::span(text).first(1)));
  EXPECT_EQ(text[0], 'W');
}

TEST_F(FileSystemTest, TheEndOfAFileIsDamageOfTheFile) {
  write_file(path("a"), "12345");
  std::string text(6, '?');
  const auto [code, message] =
      thrown([&] { files_.open_read(path("a"))->read_at(0, std::as_writable_bytes(std::span(text))); });
  EXPECT_EQ(code, ExitCode::kData);
  EXPECT_EQ(message, path("a") + ": ends at byte 5, more was expected");
}

TEST_F(FileSystemTest, NothingIsEverReplaced) {
  write_file(path("a"), "a");
  write_file(path("b"), "b");
  files_.make_directory(path("c"));
  files_.make_directory(path("d"));
  EXPECT_EQ(thrown([&] { files_.create(path("a")); }), std::pair(ExitCode::kIo, path("a") + ": File exists"));
  EXPECT_EQ(thrown([&] { files_.rename(path("a"), path("b")); }),
            std::pair(ExitCode::kIo, path("b") + ": File exists"));
  EXPECT_EQ(thrown([&] { files_.rename(path("c"), path("d")); }),
            std::pair(ExitCode::kIo, path("d") + ": File exists"));
  EXPECT_EQ(thrown([&] { files_.make_directory(path("c")); }), std::pair(ExitCode::kIo, path("c") + ": File exists"));
  EXPECT_EQ(file_text(path("b")), "b");
  files_.rename(path("c"), path("e"));
  EXPECT_TRUE(files_.exists(path("e")));
  EXPECT_FALSE(files_.exists(path("c")));
}

TEST_F(FileSystemTest, LinksAreNotFollowedToFiles) {
  write_file(path("a"), "a");
  std::filesystem::create_symlink(path("a"), path("link"));
  std::filesystem::create_symlink(path("missing"), path("dangling"));
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.open_read(path("link"))); }).first, ExitCode::kData);
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.open_write(path("link"))); }).first, ExitCode::kIo);
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.create(path("dangling"))); }).first, ExitCode::kIo);
  EXPECT_FALSE(std::filesystem::exists(path("missing")));
}

TEST_F(FileSystemTest, ListsNamesInOrderAndNothingForWhatIsMissing) {
  for (const char* name : {"c", "a", "b"}) write_file(path(name), "");
  EXPECT_THAT(files_.list(place_.path()), testing::ElementsAre("a", "b", "c"));
  EXPECT_TRUE(files_.list(path("missing")).empty());
  EXPECT_TRUE(files_.list(path("missing/.")).empty());
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.list(path("a"))); }).second, path("a") + ": Not a directory");
  files_.make_directory(path("d"));
  write_file(path("d/inside"), "");
  std::filesystem::create_directory_symlink(path("d"), path("link"));
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.list(path("link"))); }).first, ExitCode::kIo);
  EXPECT_THAT(files_.list(path("link/.")), testing::ElementsAre("inside"));
}

TEST_F(FileSystemTest, ErrorsNameThePathAndTheReason) {
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.open_read(path("x"))); }).second, path("x") + ": no such file");
  EXPECT_EQ(thrown([&] { static_cast<void>(files_.create(path("x/y"))); }).second,
            path("x/y") + ": No such file or directory");
  EXPECT_EQ(thrown([&] { files_.sync_directory(path("x")); }).second, path("x") + ": No such file or directory");
  EXPECT_EQ(thrown([&] { files_.remove_file(path("x")); }).second, path("x") + ": No such file or directory");
  EXPECT_EQ(thrown([&] { files_.remove_directory(path("x")); }).second, path("x") + ": No such file or directory");
}

}  // namespace
}  // namespace ballast
