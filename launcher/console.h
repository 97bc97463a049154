// Defines: Console: shows a running job to a person.
#pragma once

#include <cstdio>
#include <string>

#include "runtime/observer.h"

namespace ballast {

/// How progress is shown: one refreshing line, whole lines, or nothing. Warnings are shown in any case.
enum class Progress { kBar, kLines, kNone };

/// Of log.progress. "auto" is a bar where stdout and stderr are terminals: mpirun gives its workers a terminal as
/// stdout even where its own output goes to a file, but never as stderr.
[[nodiscard]] Progress progress_named(const std::string& name);

/// Progress goes to `out`, warnings to `err`, always as whole lines.
class Console : public Observer {
 public:
  Console(Progress progress, std::FILE* out, std::FILE* err) : progress_(progress), out_(out), err_(err) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  ~Console() override;

  void on_start(const std::string& summary) override;
  void on_step(const StepReport& report) override;
  void on_evaluation(std::int64_t step, double loss, double accuracy) override;
  void on_checkpoint(const SaveResult& result) override;
  void on_warning(const std::string& text) override;
  void on_notice(const std::string& text) override;

 private:
  void line(const std::string& text);
  void clear_bar();
  void draw_bar();

  Progress progress_;
  std::FILE* out_;
  std::FILE* err_;
  std::string bar_;       // what the bar says, or ""
  bool visible_ = false;  // the cursor stands behind a bar
};

/// "step 120/2000  loss 2.3456  validation 2.41  gradient 0.82  lr 3e-04  12345 tokens/s  3m12s left"
[[nodiscard]] std::string step_text(const StepReport& report);

}  // namespace ballast
