// Calls handed over together give the bits of calls one by one, whatever changes between them.
#include <gmock/gmock.h>

#include <cstring>
#include <stdexcept>

#include "tests/support/emulated_graphs.h"
#include "tests/support/tested_backend.h"

namespace ballast {
namespace {

constexpr std::int64_t kWidth = 24;
constexpr std::uint64_t kKey = 7;

std::vector<float> ramp(std::int64_t size, float first) {
  std::vector<float> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + 0.01F * static_cast<float>(i % 97);
  return values;
}

/// Tensors of one pass, and the pass: more operations than one graph holds, some with scratch memory and results for
/// the host, an upload and a clearing of memory.
class Pass {
 public:
  Pass(Backend& backend, std::int64_t rows)
      : backend_(backend),
        rows_(rows),
        x_(backend, rows * kWidth, DType::kF32),
        y_(backend, rows * kWidth, DType::kF32),
        w_(backend, kWidth * kWidth, DType::kF32),
        bias_(backend, kWidth + 1, DType::kF32),
        targets_(backend, rows, DType::kI32),
        log_sums_(backend, rows, DType::kF32) {
    const std::vector<std::int32_t> targets(static_cast<std::size_t>(rows), 3);
    upload(targets, targets_);
    upload(ramp(kWidth * kWidth, -0.5F), w_);
    upload(ramp(kWidth + 1, 0.25F), bias_);
    backend_.synchronize();
  }

  void run(std::uint32_t step, float first) {
    upload(ramp(rows_ * kWidth, first), x_);
    backend_.zero(y_.span());
    for (int round = 0; round < 20; ++round) {
      backend_.dropout({.seed = 1, .step = step, .operation = 2, .rate = 0.2F}, rows_, x_.span(), x_.span());
      // Behind the first element the bias is not aligned, so the device copies it.
      backend_.matmul({.m = rows_, .n = kWidth, .k = kWidth}, x_.span(), w_.span(), bias_.span().subspan(1, kWidth),
                      y_.span());
      backend_.gelu(y_.span(), x_.span());
    }
    backend_.bias_backward(rows_, x_.span(), bias_.span().subspan(0, kWidth));
    backend_.softmax_cross_entropy(rows_, x_.span(), targets_.span(), log_sums_.span(), loss);
  }

  /// The bits of everything that a pass leaves.
  [[nodiscard]] std::vector<std::byte> results() {
    std::vector<std::byte> all;
    for (const Buffer* buffer : {&x_, &y_, &bias_, &log_sums_}) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(buffer->span().bytes()));
      backend_.download(buffer->span(), bytes);
      backend_.synchronize();
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    const auto* const sums = reinterpret_cast<const std::byte*>(&loss);
    all.insert(all.end(), sums, sums + sizeof loss);
    return all;
  }

  void set_target(std::int32_t target) {
    upload(std::vector<std::int32_t>(static_cast<std::size_t>(rows_), target), targets_);
  }
  [[nodiscard]] DeviceSpan x() const { return x_.span(); }
  [[nodiscard]] DeviceSpan y() const { return y_.span(); }

  LossSums loss;

 private:
  template <class T>
  void upload(const std::vector<T>& values, const Buffer& to) {
    backend_.upload(std::as_bytes(std::span(values)), to.span());
  }

  Backend& backend_;
  std::int64_t rows_;
  Buffer x_, y_, w_, bias_, targets_, log_sums_;
};

class OperationsTogether : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();
};

TEST_F(OperationsTogether, GiveTheBitsOfCallsOneByOneWhileArgumentsAndMemoryChange) {
  Pass places[] = {{*backend, 10}, {*backend, 10}};
  Pass expected[] = {{*backend, 10}, {*backend, 10}};
  for (std::uint32_t step = 0; step < 6; ++step) {
    const float first = 0.1F * static_cast<float>(step);
    expected[step % 2].run(step, first);
    backend->together(kKey, [&] { places[step % 2].run(step, first); });
    EXPECT_TRUE(places[step % 2].results() == expected[step % 2].results()) << "step " << step;
  }
}

TEST_F(OperationsTogether, MayChangeTheirShapesAndNeedMoreScratchMemory) {
  for (const std::int64_t rows : {5, 5, 200, 3, 200, 64, 64}) {
    Pass together(*backend, rows), one_by_one(*backend, rows);
    backend->together(kKey, [&] { together.run(4, 0.5F); });
    one_by_one.run(4, 0.5F);
    EXPECT_TRUE(together.results() == one_by_one.results()) << rows << " rows";
  }
}

TEST_F(OperationsTogether, MayHoldCallsThatWaitAllocateAndCopy) {
  Pass together(*backend, 9), one_by_one(*backend, 9);
  const auto run = [&](Pass& pass, std::vector<float>& between) {
    pass.run(1, 0.0F);
    backend->download(pass.x(), std::as_writable_bytes(std::span(between)));
    const Buffer sum(*backend, 9 * kWidth, DType::kF32);
    backend->add(pass.x(), pass.y(), sum.span());
    backend->convert(sum.span(), pass.x());  // waits for the download
    const double squares = backend->sum_of_squares(pass.x());
    pass.run(2, static_cast<float>(squares * 1e-6));
  };
  for (int round = 0; round < 3; ++round) {
    std::vector<float> got(9 * kWidth), want(9 * kWidth);
    run(one_by_one, want);
    backend->together(kKey, [&] { run(together, got); });
    EXPECT_TRUE(together.results() == one_by_one.results()) << "round " << round;
    EXPECT_EQ(got, want) << "round " << round;
  }
}

TEST_F(OperationsTogether, HaveRunUpToAnException) {
  Pass together(*backend, 8), one_by_one(*backend, 8);
  for (int round = 0; round < 4; ++round) {
    one_by_one.run(3, 0.5F);
    const auto fails = [&] {
      together.run(3, 0.5F);
      if (round % 2 == 0) throw std::logic_error("planted");
    };
    if (round % 2 == 0) {
      EXPECT_THROW(backend->together(kKey, fails), std::logic_error);
    } else {
      backend->together(kKey, fails);
    }
    EXPECT_TRUE(together.results() == one_by_one.results()) << "round " << round;
  }
}

TEST_F(OperationsTogether, ReportTheirErrorsToWhoeverWaits) {
  Pass pass(*backend, 8);
  const auto run = [&] {
    backend->together(kKey, [&] { pass.run(0, 1.0F); });
    backend->synchronize();
  };
  for (int round = 0; round < 2; ++round) {
    pass.set_target(3);
    run();
    run();
    pass.set_target(kWidth);
    EXPECT_THROW(run(), DataError);
  }
}

TEST_F(OperationsTogether, BecomeGraphsOfTheEmulatedDevice) {
  const auto before = emulated_graphs();
  if (!before) GTEST_SKIP() << "only the emulator counts";
  Pass pass(*backend, 8);
  for (int round = 0; round < 11; ++round) {
    backend->together(kKey, [&] { pass.run(0, 1.0F); });
    backend->synchronize();
  }
  const auto after = emulated_graphs();
  EXPECT_EQ(after->launched - before->launched, 20) << "two a pass, but for the first pass";
  EXPECT_EQ(after->instantiated - before->instantiated, 2 + after->refused - before->refused);
  EXPECT_GT(after->updated, before->updated);
}

}  // namespace
}  // namespace ballast
