#include "launcher/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace ballast {
namespace {

using testing::HasSubstr;
using testing::Not;

// Text written to a stream in memory.
class Stream {
 public:
  Stream() : file_(open_memstream(&data_, &size_)) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    std::fclose(file_);
    std::free(data_);
  }
  [[nodiscard]] std::FILE* file() const { return file_; }
  [[nodiscard]] std::string text() const {
    std::fflush(file_);
    return {data_, size_};
  }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* file_;
};

StepReport report() {
  return {.step = 120,
          .total_steps = 2000,
          .loss = 2.34567,
          .gradient_norm = 0.8215,
          .lr = 3e-4,
          .items_per_second = 12345.6,
          .item = "tokens",
          .eta_seconds = 192.0,
          .validation_loss = 2.41,
          .validation_accuracy = 0.5};
}

SaveResult save(bool ok) {
  return {.step = 50, .ok = ok, .message = ok ? "" : "disk full", .seconds = 0.5, .bytes = 3 << 20};
}

TEST(Console, WritesOneWholeLinePerReport) {
  Stream out, err;
  {
    Console console(Progress::kLines, out.file(), err.file());
    console.on_start("gpt: 1 weight");
    console.on_step(report());
    console.on_evaluation(120, 2.41, 0.5);
    console.on_checkpoint(save(true));
    console.on_notice("stopped");
  }
  EXPECT_EQ(out.text(),
            "gpt: 1 weight\n"
            "step 120/2000  loss 2.3457  validation 2.4100  gradient 0.8215  lr 0.0003  12,346 tokens/s  3m12s left\n"
            "step 120: validation loss 2.4100, accuracy 50.00 %\n"
            "checkpoint of step 50 saved: 3.0 MiB in 0.5 s\n"
            "stopped\n");
  EXPECT_EQ(err.text(), "");
}

TEST(Console, ShowsNoValidationLossBeforeThereIsOne) {
  StepReport first = report();
  first.validation_loss.reset();
  EXPECT_THAT(step_text(first), Not(HasSubstr("validation")));
}

TEST(Console, RefreshesOneLineAndKeepsItWhole) {
  Stream out, err;
  {
    Console console(Progress::kBar, out.file(), err.file());
    console.on_step(report());
    console.on_warning("slow");
    console.on_step(report());
  }
  const std::string text = out.text();
  EXPECT_EQ(err.text(), "warning: slow\n");
  EXPECT_THAT(text, HasSubstr("\r\033[Kstep 120/2000  loss 2.3457"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << "only the end of the bar";
  const std::size_t last = text.rfind("\033[K");
  EXPECT_LE(text.size() - last - 4, 79U) << "fits a terminal of 80 columns";
}

TEST(Console, SaysNothingButWarningsWhenAskedForNone) {
  Stream out, err;
  {
    Console console(Progress::kNone, out.file(), err.file());
    console.on_start("start");
    console.on_step(report());
    console.on_notice("note");
    console.on_checkpoint(save(false));
  }
  EXPECT_EQ(out.text(), "");
  EXPECT_EQ(err.text(), "warning: checkpoint of step 50 not saved: disk full\n");
}

TEST(Console, ShowsLinesWhereThereIsNoTerminal) {
  EXPECT_EQ(progress_named("bar"), Progress::kBar);
  EXPECT_EQ(progress_named("lines"), Progress::kLines);
  EXPECT_EQ(progress_named("none"), Progress::kNone);
  setenv("TERM", "dumb", 1);
  EXPECT_EQ(progress_named("auto"), Progress::kLines);
}

TEST(Console, TakesNumbersThatAreNotFinite) {
  StepReport odd = report();
  odd.loss = odd.gradient_norm = odd.items_per_second = odd.eta_seconds = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(step_text(odd), HasSubstr("loss nan"));
  EXPECT_THAT(step_text(odd), HasSubstr("? left"));
}

}  // namespace
}  // namespace ballast
