// Defines: Host, parse_hosts, read_hosts, slurm_hosts, spread, is_this_machine: where workers may run.
#pragma once

#include <string>
#include <vector>

namespace ballast {

struct Host {
  std::string name;
  int slots = 1;  ///< workers it may have
  bool operator==(const Host&) const = default;
};

/// From "a:2,b" or the lines of a host file, "a slots=2" (# begins a comment), as mpirun reads both. Throws
/// Error(kUsage) for an empty list, a host named twice, or slots that are not a number from 1.
[[nodiscard]] std::vector<Host> parse_hosts(const std::string& text);

/// The same of the file with that name where there is one, otherwise of the text itself.
[[nodiscard]] std::vector<Host> read_hosts(const std::string& list_or_file);

/// `names`: one on a line, as `scontrol show hostnames` prints them; `tasks`: SLURM_TASKS_PER_NODE, "2(x3),1".
[[nodiscard]] std::vector<Host> slurm_hosts(const std::string& names, const std::string& tasks);

/// At most `most` workers on hosts with so many slots: one more on each in turn, so that all hosts work. The result
/// has an entry for each host.
[[nodiscard]] std::vector<int> spread(const std::vector<int>& slots, int most);

/// "localhost", this machine's name, or a name or address of one of its interfaces.
[[nodiscard]] bool is_this_machine(const std::string& name);

/// "h1:2, h2:1".
[[nodiscard]] std::string hosts_text(const std::vector<Host>& hosts);

}  // namespace ballast
