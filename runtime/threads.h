// Defines: threads_for_worker: how many threads each of a node's workers gets.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"

namespace ballast {

struct ThreadChoice {
  int threads = 1;
  std::string warning;  ///< not empty when the node's workers together run more threads than it has cores
};

/// Collective. `asked` 0 means the cores of this worker's affinity mask; workers whose masks overlap share them.
[[nodiscard]] ThreadChoice threads_for_worker(Communicator& world, std::int64_t asked);

}  // namespace ballast
