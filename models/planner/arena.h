// Defines: Storage, place_storages: tensors that live for part of a pass share one arena.
#pragma once

#include <cstdint>
#include <vector>

namespace ballast {

/// A run of bytes that is in use from time `first` to time `last`, both included. Times count the operations of forward
/// and backward.
struct Storage {
  std::int64_t bytes = 0;
  int first = 0;
  int last = 0;
  std::int64_t offset = 0;  ///< bytes from the start of the arena, a multiple of 64; of 4096 for large ones
};

/// Gives every storage an offset such that no two that are in use at one time overlap. Returns the bytes of the arena.
std::int64_t place_storages(std::vector<Storage>& storages);

}  // namespace ballast
