// Defines: edit_distance, suggestion.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ballast {

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other (optimal string
/// alignment).
[[nodiscard]] std::size_t edit_distance(const std::string& from, const std::string& to);

/// The candidate nearest to a mistyped word, or "" when none is near enough to be meant (distance above a third of the
/// length, at least 1).
[[nodiscard]] std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace ballast
