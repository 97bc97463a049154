// Defines: Fact, require_same_facts.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace ballast {

struct Fact {
  std::string name;   ///< "training data"
  std::string value;  ///< a description or a digest
};

/// Collective; every worker passes facts of the same names. Throws Error(kDesync) on all of them, with the first fact
/// that is not rank 0's on some worker, and the ranks.
void require_same_facts(Communicator& world, const std::vector<Fact>& facts);

}  // namespace ballast
