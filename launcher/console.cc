#include "launcher/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "launcher/number_text.h"

namespace ballast {
namespace {

constexpr std::size_t kUsualWidth = 80;

std::size_t terminal_width(std::FILE* out) {
  winsize size{};
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

std::string fixed(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string rate_text(double rate) { return count_text(std::isfinite(rate) && rate < 1e15 ? std::llround(rate) : 0); }

// "[=====>    ]", as long as fits beside the text; "" where there is no room for one.
std::string drawn_share(double share, std::size_t room) {
  if (room < 12) return "";
  const std::size_t inside = std::min<std::size_t>(room, 32) - 3;
  const auto full = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(inside));
  std::string bar(inside, ' ');
  std::fill_n(bar.begin(), full, '=');
  if (full < inside) bar[full] = '>';
  return '[' + bar + "] ";
}

}  // namespace

Progress progress_named(const std::string& name) {
  if (name == "bar") return Progress::kBar;
  if (name == "lines") return Progress::kLines;
  if (name == "none") return Progress::kNone;
  const char* terminal = std::getenv("TERM");
  const bool capable = terminal != nullptr && std::string(terminal) != "dumb";
  return capable && isatty(STDOUT_FILENO) != 0 && isatty(STDERR_FILENO) != 0 ? Progress::kBar : Progress::kLines;
}

std::string step_text(const StepReport& report) {
  std::string text = "step " + std::to_string(report.step) + '/' + std::to_string(report.total_steps);
  text += "  loss " + fixed("%.4f", report.loss);
  if (report.validation_loss) text += "  validation " + fixed("%.4f", *report.validation_loss);
  text += "  gradient " + short_number(report.gradient_norm) + "  lr " + short_number(report.lr);
  text += "  " + rate_text(report.items_per_second) + ' ' + report.item + "/s";
  if (report.matmul_share > 0.0) text += "  " + fixed("%.0f", 100.0 * report.matmul_share) + " % of matmul peak";
  return text + "  " + seconds_text(report.eta_seconds) + " left";
}

Console::~Console() {
  if (visible_) std::fputc('\n', out_);  // the last state of the bar stays on the screen
  std::fflush(out_);
}

void Console::on_start(const std::string& summary) { line(summary); }

void Console::on_step(const StepReport& report) {
  const std::string text = step_text(report);
  if (progress_ != Progress::kBar) return line(text);
  const std::size_t width = terminal_width(out_) - 1;  // a full line would wrap
  const double share =
      static_cast<double>(report.step) / static_cast<double>(std::max<std::int64_t>(report.total_steps, 1));
  bar_ = drawn_share(share, width - std::min(width, text.size())) + text;
  bar_.resize(std::min(bar_.size(), width));
  draw_bar();
}

void Console::on_evaluation(std::int64_t step, double loss, double accuracy) {
  line("step " + std::to_string(step) + ": validation loss " + fixed("%.4f", loss) + ", accuracy " +
       fixed("%.2f", 100.0 * accuracy) + " %");
}

void Console::on_checkpoint(const SaveResult& result) {
  const std::string name = "checkpoint of step " + std::to_string(result.step);
  if (!result.ok) return on_warning(name + " not saved: " + result.message);
  line(name + " saved: " + bytes_text(static_cast<double>(result.bytes)) + " in " + fixed("%.1f", result.seconds) +
       " s");
}

void Console::on_warning(const std::string& text) {
  clear_bar();
  std::fflush(out_);
  std::fputs(("warning: " + text + '\n').c_str(), err_);
  std::fflush(err_);
  draw_bar();
}

void Console::on_notice(const std::string& text) { line(text); }

void Console::line(const std::string& text) {
  if (progress_ == Progress::kNone) return;
  clear_bar();
  std::fputs((text + '\n').c_str(), out_);
  std::fflush(out_);
  draw_bar();
}

void Console::clear_bar() {
  if (visible_) std::fputs("\r\033[K", out_);
  visible_ = false;
}

void Console::draw_bar() {
  if (progress_ != Progress::kBar || bar_.empty()) return;
  std::fputs(("\r\033[K" + bar_).c_str(), out_);
  std::fflush(out_);
  visible_ = true;
}

}  // namespace ballast
