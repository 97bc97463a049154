#include "comm/flight/disagreement.h"

#include <algorithm>
#include <utility>

namespace ballast {
namespace {

/// Workers that make the same call after the same calls.
struct Party {
  std::uint64_t digest = 0;
  std::string call;
  std::vector<int> ranks;
};

std::string call_of(const FlightRecord& record) {
  return describe(record) + " (number " + std::to_string(record.sequence) + " of its group)";
}

/// Those of the right call last.
std::vector<Party> parties_of(const std::vector<FlightRecord>& records, const std::vector<int>& members) {
  std::vector<Party> parties;
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto found = std::ranges::find(parties, records[i].digest, &Party::digest);
    if (found == parties.end()) {
      parties.push_back({records[i].digest, call_of(records[i]), {}});
      found = parties.end() - 1;
    }
    found->ranks.push_back(members[i]);
  }
  const auto most = std::ranges::max_element(parties, {}, [](const Party& party) { return party.ranks.size(); });
  std::rotate(most, most + 1, parties.end());
  return parties;
}

}  // namespace

std::string disagreement(const std::vector<FlightRecord>& records, const std::vector<int>& members) {
  const std::vector<Party> parties = parties_of(records, members);
  std::string text = "the workers disagree: ";
  for (std::size_t i = 0; i < parties.size(); ++i) {
    const Party& party = parties[i];
    const bool last = i + 1 == parties.size();
    if (i > 0) text += last ? ", while " : ", ";
    text += rank_list(party.ranks) + (party.ranks.size() == 1 ? " calls " : " call ") + party.call;
  }
  const bool same_call = std::ranges::all_of(parties, [&](const Party& p) { return p.call == parties.front().call; });
  if (same_call) text += ", after calls that differed";
  return text +
         "; no data was exchanged. Start again from the last checkpoint; if it happens again, look for "
         "different programs or failing memory on the odd worker";
}

}  // namespace ballast
