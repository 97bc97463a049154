#include "launcher/launch/mpi_command.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <sstream>

namespace ballast {
namespace {

// All that Open MPI keeps in files: there they can be found again after a violent end.
std::string folder(const std::string& mark) { return "/dev/shm/" + mark; }

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> all;
  for (std::string word; in >> word;) all.push_back(word);
  return all;
}

void add(std::vector<std::string>& command, const std::vector<std::string>& arguments) {
  command.insert(command.end(), arguments.begin(), arguments.end());
}

void set(std::vector<std::string>& command, const std::string& parameter, const std::string& value) {
  add(command, {"--mca", parameter, value});
}

bool is_handed_on(const std::string& name) {
  constexpr std::array kPrefixes = {"BALLAST_", "OMP_", "OPENBLAS_", "NCCL_"};
  return name == "LD_LIBRARY_PATH" ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](const char* prefix) { return name.starts_with(prefix); });
}

void add_network(std::vector<std::string>& command, const MpiOptions& options) {
  set(command, "plm", "rsh");
  set(command, "plm_rsh_agent", options.agent);
  set(command, "ras", "^slurm,alps,lsf,tm,gridengine");  // which hosts are used is decided here
  // A host whose link is down says nothing: mpirun and its daemons miss each other after five seconds.
  set(command, "oob_tcp_keepalive_time", "2");
  set(command, "oob_tcp_keepalive_intvl", "1");
  set(command, "oob_tcp_keepalive_probes", "3");
  if (options.network.empty()) return;
  set(command, "oob_tcp_if_include", options.network);
  set(command, "btl_tcp_if_include", options.network);
}

}  // namespace

std::vector<std::string> mpirun_command(const MpiOptions& options, const std::vector<Host>& hosts,
                                        const std::vector<std::string>& environment, bool root) {
  std::vector<std::string> command = {"mpirun"};
  if (root) command.emplace_back("--allow-run-as-root");
  const std::vector<std::string> extra = words(options.extra);
  // A worker has threads: one core, mpirun's own choice, would hold all of them.
  if (std::find(extra.begin(), extra.end(), "--bind-to") == extra.end()) add(command, {"--bind-to", "none"});
  set(command, "odls_base_sigkill_timeout", "0");  // workers that have to die need no time for it: 0.2 s instead of 4
  set(command, "orte_tmpdir_base", folder(options.mark));
  set(command, "btl_vader_backing_directory", folder(options.mark));
  const bool alone =
      std::all_of(hosts.begin(), hosts.end(), [](const Host& host) { return is_this_machine(host.name); });
  if (!alone) add_network(command, options);
  for (const std::string& variable : environment) {
    const std::string name = variable.substr(0, variable.find('='));
    if (is_handed_on(name)) add(command, {"-x", name});
  }
  add(command, extra);
  std::string list;
  for (const Host& host : hosts) list += (list.empty() ? "" : ",") + host.name + ':' + std::to_string(host.slots);
  const int workers =
      std::accumulate(hosts.begin(), hosts.end(), 0, [](int sum, const Host& h) { return sum + h.slots; });
  add(command, {"--host", list, "-n", std::to_string(workers)});
  add(command, options.worker);
  return command;
}

std::vector<std::string> remote_command(const std::string& agent, const std::string& host, const std::string& script) {
  std::vector<std::string> command = words(agent);
  if (command.empty()) return {"sh", "-c", script};
  add(command, {host, "sh -c '" + script + "'"});  // one word: whatever shell the account has there starts ours
  return command;
}

// The daemons of MPI have the folder on their command lines, the workers in their environment. The mark is put together
// on the way, so that the shell that looks for it does not find itself.
std::string sweep_script(const std::string& mark) {
  const std::size_t half = mark.size() / 2;
  return "a=" + mark.substr(0, half) + "; m=${a}" + mark.substr(half) +
         "; for f in $(grep -ls $m /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do "
         "p=${f#/proc/}; kill -9 ${p%%/*} 2>/dev/null; done; rm -rf /dev/shm/$m";
}

}  // namespace ballast
