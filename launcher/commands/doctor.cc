// Implements `ballast doctor`: what a job would find on this machine, and why it would not find more.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <utility>

#include "comm/mpi_session.h"
#include "comm/transport.h"
#include "compute/plugin.h"
#include "launcher/agreement.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/number_text.h"
#include "launcher/reports.h"
#include "launcher/table.h"
#include "launcher/version.h"
#include "launcher/workers.h"
#include "runtime/devices.h"
#include "runtime/threads.h"

namespace ballast {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

/// Bytes behind `key` in /proc/meminfo.
std::int64_t memory_bytes(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    std::int64_t kibibytes = 0;
    if (word == key && file >> kibibytes) return 1024 * kibibytes;
  }
  return 0;
}

/// Collective. Worker r of a node would take the node's device r, where there is one.
std::vector<DoctorReport::Worker> look_at_workers(Communicator& world, const DeviceReport& devices) {
  const auto rank = static_cast<std::size_t>(world.split_by_node()->rank());
  const bool has_device = rank < devices.devices.size();
  const std::string device = has_device ? std::to_string(rank) + ": " + devices.devices[rank].name : "";
  const auto hosts = all_gather_strings(world, host_name());
  const auto cores = all_gather_strings(world, std::to_string(available_cores()));
  const auto mine = all_gather_strings(world, device);
  std::vector<DoctorReport::Worker> workers;
  for (std::size_t i = 0; i < hosts.size(); ++i) workers.push_back({hosts[i], std::stoi(cores[i]), mine[i]});
  return workers;
}

/// Collective. The choice that a job makes. Where it would fail, there is no backend and the error is the note.
void choose_backend(Communicator& world, const ComputeSection& compute, DoctorReport& report) {
  try {
    const DeviceChoice choice = choose_device(world, compute.backend, report.devices);
    report.backend = choice.backend;
    report.backend_note = choice.warning;
  } catch (const ConfigError& error) {
    report.backend_note = error.what();
  }
}

/// Collective.
DoctorReport examine(Communicator& world, const ComputeSection& compute) {
  DoctorReport report;
  report.version = version();
  report.mpi = MpiSession::library();
  report.cpu =
      make_backend({.name = "cpu", .threads = threads_for_worker(world, compute.threads).threads})->description();
  report.memory_bytes = memory_bytes("MemTotal:");
  report.available_bytes = memory_bytes("MemAvailable:");
  report.plugins = Plugin::folder_of(compute.plugins);
  report.devices = find_devices(compute.plugins);
  try {
    report.transport = transport_description(compute.plugins);
  } catch (const std::exception& error) {
    report.transport_problem = error.what();
  }
  report.workers = look_at_workers(world, report.devices);
  choose_backend(world, compute, report);
  return report;
}

std::string cuda_text(const DeviceReport& devices) {
  std::string text = devices.problem;
  for (const auto& [what, version] :
       {std::pair("driver ", devices.driver), std::pair("toolkit ", devices.toolkit), std::pair("", devices.library)}) {
    if (!version.empty()) text += (text.empty() ? "" : ", ") + (what + version);
  }
  return text;
}

std::string machine_table(const DoctorReport& report) {
  Table table("ll");
  table.add({"Ballast", report.version});
  table.add({"MPI", report.mpi});
  table.add({"processor", report.cpu});
  table.add({"memory", bytes_text(static_cast<double>(report.memory_bytes)) + ", " +
                           bytes_text(static_cast<double>(report.available_bytes)) + " available"});
  table.add({"plugins", report.plugins});
  table.add({"CUDA", cuda_text(report.devices)});
  table.add({"NCCL", report.transport.empty() ? report.transport_problem : report.transport});
  return table.text();
}

std::string device_table(const std::vector<Device>& devices) {
  Table table("rlrrrl");
  table.add({"GPU", "name", "capability", "processors", "memory", "reaches the memory of"});
  for (std::size_t i = 0; i < devices.size(); ++i) {
    std::string peers;
    for (std::size_t other = 0; other < devices[i].peer_access.size(); ++other) {
      if (other != i && devices[i].peer_access[other]) peers += (peers.empty() ? "" : " ") + std::to_string(other);
    }
    table.add({std::to_string(i), devices[i].name, devices[i].compute_capability, std::to_string(devices[i].processors),
               bytes_text(static_cast<double>(devices[i].memory_bytes)), peers.empty() ? "no other" : peers});
  }
  return table.text();
}

std::string worker_table(const std::vector<DoctorReport::Worker>& workers) {
  Table table("rlrl");
  table.add({"rank", "node", "cores", "GPU"});
  for (std::size_t rank = 0; rank < workers.size(); ++rank) {
    const DoctorReport::Worker& worker = workers[rank];
    table.add({std::to_string(rank), worker.host, std::to_string(worker.cores),
               worker.device.empty() ? "none" : worker.device});
  }
  return table.text();
}

void print(const DoctorReport& report) {
  std::string text = machine_table(report);
  if (!report.devices.devices.empty()) text += '\n' + device_table(report.devices.devices);
  text += '\n' + worker_table(report.workers) +
          (report.backend.empty() ? "\nA job ends here: " : "\nA job computes here on: " + report.backend + '\n');
  if (!report.backend_note.empty()) text += report.backend_note + '\n';
  std::fputs(text.c_str(), stdout);
}

}  // namespace

ExitCode run(const DoctorCommand& command, Process& process) {
  return run_as_worker(process, [&](Communicator& world) {
    const auto load = [&] { return load_config("", {command.overrides, process_environment()}); };
    const DoctorReport report = examine(world, agree_on_config(world, load).config.compute);
    if (world.rank() != 0) return ExitCode::kOk;
    if (command.json) {
      std::fputs(to_json(report).c_str(), stdout);
    } else {
      print(report);
    }
    return ExitCode::kOk;
  });
}

}  // namespace ballast
