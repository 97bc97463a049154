#include "runtime/same_facts.h"

#include "comm/flight_record.h"
#include "compute/error.h"

namespace ballast {

void require_same_facts(Communicator& world, const std::vector<Fact>& facts) {
  for (const Fact& fact : facts) {
    const std::vector<std::string> values = all_gather_strings(world, fact.value);
    std::vector<int> others;
    for (int rank = 0; rank < world.size(); ++rank) {
      if (values[static_cast<std::size_t>(rank)] != values.front()) others.push_back(rank);
    }
    if (others.empty()) continue;
    throw Error("the workers disagree about the " + fact.name + ": " + rank_list(others) + " (" +
                    values[static_cast<std::size_t>(others.front())] + ") and rank 0 (" + values.front() +
                    "). Give every host the same program and the same files",
                ExitCode::kDesync);
  }
}

}  // namespace ballast
