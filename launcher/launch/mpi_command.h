// Defines: MpiOptions, mpirun_command, remote_command, sweep_script: the command lines that launch runs.
#pragma once

#include <string>
#include <vector>

#include "launcher/launch/hosts.h"

namespace ballast {

struct MpiOptions {
  std::string agent;                ///< runs a command on a host: AGENT HOST COMMAND
  std::string network;              ///< interfaces or addresses ("eth0", "10.0.0.0/24") that workers talk over; "": any
  std::string extra;                ///< further arguments of mpirun, separated by blanks
  std::string mark;                 ///< unlike that of any other launch: "ballast-launch-node7-4711"
  std::vector<std::string> worker;  ///< the program and its arguments
};

/// `hosts` with the workers that each is to have. `environment`: "NAME=value"; what workers on other machines need of
/// it is handed on. `root`: mpirun would refuse otherwise.
[[nodiscard]] std::vector<std::string> mpirun_command(const MpiOptions& options, const std::vector<Host>& hosts,
                                                      const std::vector<std::string>& environment, bool root);

/// Runs `script` on `host`, or here where the agent is "".
[[nodiscard]] std::vector<std::string> remote_command(const std::string& agent, const std::string& host,
                                                      const std::string& script);

/// Ends every process of the launch with this mark on the machine where it runs, and removes what they left in memory.
[[nodiscard]] std::string sweep_script(const std::string& mark);

}  // namespace ballast
