// Defines: disagreement: who makes which call, where workers that should make the same do not.
#pragma once

#include <string>
#include <vector>

#include "comm/flight_record.h"

namespace ballast {

/// One line. `records[i]`: the call of the worker with rank members[i] in the world. The call that most workers make,
/// or else that of the first, counts as the right one; the workers that make others are named first.
[[nodiscard]] std::string disagreement(const std::vector<FlightRecord>& records, const std::vector<int>& members);

}  // namespace ballast
