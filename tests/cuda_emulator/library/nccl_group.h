// What a group of NCCL calls collects until it ends.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <functional>

namespace cuda_emulator {

std::size_t element_bytes(ncclDataType_t type);

/// Queues `issue` until the outermost group ends; at once where no group is open. Its argument is Work::early.
void issue_with_group(std::function<void(bool early)> issue);

}  // namespace cuda_emulator
