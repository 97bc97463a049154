// Defines: levels_of_sum_tree.
#pragma once

#include <cstddef>
#include <span>

namespace ballast {

/// Partial sums that a program of Backend::ordered_sum holds at once. Throws Error for a program that names an addend
/// beyond `addends` or does not end in one sum.
[[nodiscard]] std::size_t levels_of_sum_tree(std::size_t addends, std::span<const int> tree);

}  // namespace ballast
