// Defines: Testimony: why a job ended, from what its workers and mpirun said on stderr.
#pragma once

#include <string>

namespace ballast {

class Testimony {
 public:
  /// A piece of stderr, cut anywhere.
  void hear(const std::string& text);

  /// mpirun has lost a host, and says so some seconds before it ends.
  [[nodiscard]] bool host_lost() const { return !lost_host_.empty(); }

  /// One line, without a full stop: "worker 1 on h2 ended by signal 9 (Killed)", "lost the MPI daemon on h2", the
  /// worker's own last line, or what the code alone says. `code` as in outcome.h; `mpirun_died`: it is mpirun's own
  /// end by a signal.
  [[nodiscard]] std::string cause(int code, bool mpirun_died) const;

 private:
  void hear_line(const std::string& line);

  std::string rest_;       // of a line that is not complete
  std::string own_words_;  // the first line of a worker of ours, without "ballast: "
  std::string casualty_;   // of mpirun's notice
  std::string lost_host_;
};

}  // namespace ballast
