// Defines: expect_communicator_contract, expect_shared_segments: what every implementation of Communicator must do.
#pragma once

#include <cstdint>

#include "comm/communicator.h"

namespace ballast {

/// Collective. Adds test failures on the workers that see something wrong.
void expect_communicator_contract(Communicator& world);

/// Collective. Segments as share() must make them, with `bytes_of_rank_0` bytes of rank 0 and 10000 + r of every other
/// rank r.
void expect_shared_segments(Communicator& node, const SharedSegments& segments, std::int64_t bytes_of_rank_0);

}  // namespace ballast
