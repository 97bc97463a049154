// Memory of any backend: alignment, copies there and back, clearing, and what happens when there is too little.
#include <gmock/gmock.h>

#include <cstring>

#include "tests/compute/operation_case.h"

namespace ballast {
namespace {

class OperationsMemory : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();
};

std::vector<std::byte> pattern(std::size_t bytes, unsigned start) {
  std::vector<std::byte> made(bytes);
  for (std::size_t i = 0; i < bytes; ++i) made[i] = static_cast<std::byte>((start + 31 * i) % 251);
  return made;
}

std::vector<std::byte> bytes_of(Backend& backend, ConstDeviceSpan span) {
  std::vector<std::byte> host(static_cast<std::size_t>(span.bytes()));
  backend.download(span, host);
  backend.synchronize();
  return host;
}

TEST_F(OperationsMemory, IsAlignedToPagesWhereTheHostMayUseIt) {
  const std::uintptr_t alignment = backend->host_addressable() ? 4096 : 256;
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{5000}, std::int64_t{1} << 20}) {
    void* memory = backend->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % alignment, 0U) << bytes;
    backend->release(memory);
  }
}

TEST_F(OperationsMemory, NamesTheBytesThatItCannotHave) {
  const std::int64_t bytes = std::int64_t{1} << 62;
  try {
    backend->release(backend->allocate(bytes));
    ADD_FAILURE() << "4 exbibytes were allocated";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(std::to_string(bytes)));
  }
}

TEST_F(OperationsMemory, CarriesBytesThereAndBack) {
  for (const std::int64_t size : {0, 1, 3, 1000, 100'003, 6'000'001}) {
    const Buffer buffer(*backend, size, DType::kBF16);
    const auto sent = pattern(static_cast<std::size_t>(2 * size), 3);
    backend->upload(sent, buffer.span());
    EXPECT_TRUE(bytes_of(*backend, buffer.span()) == sent) << size;
  }
}

TEST_F(OperationsMemory, CopiesPartsOnly) {
  const Buffer buffer(*backend, 1000, DType::kF32);
  auto expected = pattern(4000, 1);
  backend->upload(expected, buffer.span());
  const auto part = pattern(4 * 301, 99);
  backend->upload(part, buffer.span().subspan(77, 301));
  std::copy(part.begin(), part.end(), expected.begin() + 4 * 77);
  EXPECT_TRUE(bytes_of(*backend, buffer.span()) == expected);
  EXPECT_TRUE(bytes_of(*backend, buffer.span().subspan(77, 301)) == part);
}

TEST_F(OperationsMemory, RefusesHostMemoryOfAnotherSize) {
  const Buffer buffer(*backend, 3, DType::kF32);
  std::vector<std::byte> other(8);
  EXPECT_THROW(backend->download(buffer.span(), other), Error);
  EXPECT_THROW(backend->upload(other, buffer.span()), Error);
}

TEST_F(OperationsMemory, ADownloadHoldsWhatWasQueuedBeforeItAndNothingLater) {
  constexpr std::int64_t kSize = 5000;
  const Buffer x(*backend, kSize, DType::kF32);
  const Buffer y(*backend, kSize, DType::kF32);
  const std::vector<float> ones(kSize, 1.0F);
  std::vector<float> twos(kSize), fours(kSize);
  backend->upload(std::as_bytes(std::span(ones)), x.span());
  backend->add(x.span(), x.span(), y.span());
  backend->download(y.span(), std::as_writable_bytes(std::span(twos)));
  backend->add(y.span(), y.span(), x.span());
  backend->add(x.span(), x.span(), y.span());
  backend->download(x.span(), std::as_writable_bytes(std::span(fours)));
  backend->synchronize();
  EXPECT_THAT(twos, testing::Each(2.0F));
  EXPECT_THAT(fours, testing::Each(4.0F));
}

TEST_F(OperationsMemory, DescribesItself) {
  EXPECT_THAT(backend->description(), testing::StartsWith(backend->name() + ": "));
  EXPECT_EQ(backend->host_addressable(), backend->name() == "cpu");
  EXPECT_EQ(backend->queue() == nullptr, backend->name() == "cpu");
}

BALLAST_BOTH_TYPES(OperationsZero);

TEST_P(OperationsZero, ClearsTheSpanOnly) {
  for (const std::int64_t size : {0, 1, 7, 1000, 4099}) {
    OperationCase c;
    c.demand_bits();
    const int x = c.updates("x", GetParam(), random_values(GetParam(), size, 1), {});
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.zero(t[x]); });
  }
}

}  // namespace
}  // namespace ballast
