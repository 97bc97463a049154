#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "compute/backend.h"
#include "tests/compute/host_tensor.h"

namespace ballast {
namespace {

using testing::HasSubstr;

std::string message_of(const BackendOptions& options) {
  try {
    static_cast<void>(make_backend(options));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(MakeBackend, GivesTheProcessorWhenNothingIsAskedFor) {
  const auto backend = make_backend({});
  EXPECT_EQ(backend->name(), "cpu");
  EXPECT_EQ(backend->threads(), available_cores());
  EXPECT_GE(available_cores(), 1);
}

TEST(MakeBackend, DescribesItself) {
  const auto backend = make_backend({.name = "cpu", .threads = 3});
  EXPECT_THAT(backend->description(), testing::StartsWith("cpu: 3 threads, "));
  EXPECT_THAT(backend->description(), HasSubstr("oneDNN "));
}

TEST(MakeBackend, RefusesWhatItDoesNotHave) {
  EXPECT_THAT(message_of({.name = "cuda", .plugins = "/nowhere"}), HasSubstr("/nowhere/ballast_cuda.so"));
  EXPECT_THAT(message_of({.name = "tpu"}), HasSubstr("\"tpu\""));
  EXPECT_THAT(message_of({.name = "cpu", .threads = -1}), HasSubstr("compute.threads is -1"));
}

TEST(CpuBackend, AlignsMemoryToPages) {
  const auto backend = make_backend({.name = "cpu", .threads = 1});
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{5000}, std::int64_t{9} << 20}) {
    void* memory = backend->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 4096, 0U) << bytes;
    if (bytes > 0) std::memset(memory, 1, static_cast<std::size_t>(bytes));
    backend->release(memory);
  }
}

TEST(CpuBackend, NamesTheBytesThatItCannotHave) {
  const auto backend = make_backend({.name = "cpu", .threads = 1});
  const std::int64_t bytes = std::int64_t{1} << 62;
  try {
    backend->release(backend->allocate(bytes));
    ADD_FAILURE() << "an exbibyte was allocated";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(bytes)));
  }
}

TEST(CpuBackend, CarriesBytesThereAndBack) {
  const auto backend = make_backend({.name = "cpu", .threads = 2});
  const HostTensor host = HostTensor::random(1'000'003, DType::kF32, 9);
  const DeviceTensor device(*backend, host);
  EXPECT_TRUE(device.bytes() == host.bytes());
  std::vector<std::byte> too_short(8);
  EXPECT_THROW(backend->download(device.span(), too_short), Error);
  EXPECT_THROW(backend->upload(too_short, device.span()), Error);
  backend->zero(device.span());
  EXPECT_TRUE(device.bytes() == std::vector<std::byte>(host.bytes().size()));
}

TEST(Buffer, MovesItsMemory) {
  const auto backend = make_backend({.name = "cpu", .threads = 1});
  Buffer first(*backend, 10, DType::kBF16);
  const void* memory = first.span().data;
  EXPECT_EQ(first.span().bytes(), 20);
  Buffer second(std::move(first));
  EXPECT_EQ(second.span().data, memory);
  EXPECT_TRUE(first.span().empty());  // NOLINT(bugprone-use-after-move): moved-from buffers are empty
  Buffer third;
  third = std::move(second);
  EXPECT_EQ(third.span().data, memory);
  third = Buffer(*backend, 3, DType::kF32);
  EXPECT_EQ(third.span().size, 3);
}

}  // namespace
}  // namespace ballast
