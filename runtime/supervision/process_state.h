// Defines: ProcessState, process_state, threads_of_this_process: what the system says about a process.
#pragma once

#include <cstdint>
#include <string>

namespace ballast {

enum class ProcessState : std::uint8_t { kUnknown, kAlive, kStopped, kDead };

/// Of process `id` on host `host`: kUnknown for another host than this one.
[[nodiscard]] ProcessState process_state(const std::string& host, std::int64_t id);

[[nodiscard]] std::string host_of_this_process();

/// One line per thread: name, state, system call and the kernel function that it sleeps in; then the memory in use.
[[nodiscard]] std::string threads_of_this_process();

}  // namespace ballast
