#include "launcher/launch/testimony.h"

#include <regex>

#include "launcher/launch/outcome.h"

namespace ballast {

void Testimony::hear(const std::string& text) {
  rest_ += text;
  for (std::size_t end = 0; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1)) {
    hear_line(rest_.substr(0, end));
  }
}

// The phrases are those of Open MPI 4; with another MPI the exit code and our workers' own lines have to do.
void Testimony::hear_line(const std::string& line) {
  static const std::regex kCasualty(R"(.*process rank (\d+) with PID \d+ on node (\S+) exited on (signal .*\))\.?.*)");
  static const std::regex kDaemon(R"(\s*Remote daemon: \S+ on node (\S+)\s*)");
  constexpr const char* kOurs = "ballast: ";
  std::smatch match;
  if (own_words_.empty() && line.starts_with(kOurs)) {
    own_words_ = line.substr(std::string(kOurs).size());
  } else if (std::regex_match(line, match, kCasualty)) {
    casualty_ = "worker " + match.str(1) + " on " + match.str(2) + " ended by " + match.str(3);
  } else if (std::regex_match(line, match, kDaemon)) {
    lost_host_ = match.str(1);
  }
}

std::string Testimony::cause(int code, bool mpirun_died) const {
  if (!own_words_.empty()) return own_words_ + " (" + code_text(code) + ")";
  if (!casualty_.empty()) return casualty_;
  if (!lost_host_.empty()) return "lost the MPI daemon on " + lost_host_;
  const std::string text = code_text(code);
  if (mpirun_died) return "mpirun was ended by " + text;
  return (text.starts_with("signal") ? "a process of the job ended by " : "mpirun ended with ") + text;
}

}  // namespace ballast
