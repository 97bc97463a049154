#include "runtime/batch_plan.h"

#include <algorithm>

#include "compute/error.h"
#include "compute/philox.h"
#include "runtime/dataset.h"

namespace ballast {
namespace {

constexpr std::uint64_t kShuffle = 0x73687566666c65;  // "shuffle": its own branch of the seed's keys
constexpr std::int64_t kWindowChunks = 16;

void check_divisible(std::int64_t batch, int shards) {
  if (batch % shards == 0) return;
  const std::int64_t below = batch / shards * shards;
  const std::string fitting =
      below > 0 ? std::to_string(below) + " or " + std::to_string(below + shards) : std::to_string(below + shards);
  throw ConfigError("batch.size = " + std::to_string(batch) + " cannot be cut into batch.shards = " +
                    std::to_string(shards) + " equal shards: set batch.size to " + fitting);
}

/// What is visited as number `index` of a part of `size` samples in chunks: window, place in it, chunk of that place.
std::int64_t index_in_part(std::int64_t index, std::int64_t size, std::int64_t chunk, std::uint64_t key) {
  const std::int64_t window = index / (kWindowChunks * chunk);
  const std::int64_t begin = window * kWindowChunks * chunk;
  const std::int64_t in_window = std::min(kWindowChunks * chunk, size - begin);
  const std::int64_t place =
      begin + permuted_index(index - begin, in_window, mix_key(key, static_cast<std::uint64_t>(window)));
  const std::int64_t turn = place / chunk;
  const std::int64_t whole = size / chunk;
  const std::int64_t number = turn < whole ? permuted_index(turn, whole, key) : turn;
  return number * chunk + place % chunk;
}

}  // namespace

BatchPlan::BatchPlan(std::int64_t samples, std::int64_t batch, int shards, SampleOrder order, std::uint64_t seed,
                     const std::string& source)
    : samples_(samples), batch_(batch), shards_(shards), order_(order), seed_(seed) {
  require(batch > 0 && shards > 0, "a batch plan needs samples per batch and shards");
  check_divisible(batch, shards);
  if (samples < batch) {
    throw DataError(source + ": ends after " + std::to_string(samples) +
                    " training samples, fewer than one batch (batch.size = " + std::to_string(batch) +
                    "): use more data or a smaller batch.size");
  }
}

std::int64_t BatchPlan::steps_per_epoch() const { return (samples_ + batch_ - 1) / batch_; }

std::int64_t BatchPlan::batch_size(std::int64_t step) const {
  return std::min(batch_, samples_ - step % steps_per_epoch() * batch_);
}

std::int64_t BatchPlan::samples_of(std::int64_t step, ShardRange shards) const {
  const std::int64_t in_batch = batch_size(step), quota = batch_ / shards_;
  return std::min(shards.end * quota, in_batch) - std::min(shards.begin * quota, in_batch);
}

std::int64_t BatchPlan::part_begin(std::int64_t shard) const {
  const std::int64_t quota = batch_ / shards_;
  const std::int64_t full_steps = steps_per_epoch() - 1;
  return shard * full_steps * quota + std::min(shard * quota, samples_ - full_steps * batch_);
}

std::int64_t BatchPlan::index_in_chunks(std::int64_t index, std::int64_t shard, std::uint64_t key) const {
  const std::int64_t part = part_begin(shard);
  return part + index_in_part(index, part_begin(shard + 1) - part, order_.chunk,
                              mix_key(key, static_cast<std::uint64_t>(shard)));
}

std::vector<std::int64_t> BatchPlan::shard(std::int64_t step, int shard, std::int64_t& first) const {
  require(step >= 0 && shard >= 0 && shard < shards_, "step or shard outside the batch plan");
  const std::int64_t epoch = step / steps_per_epoch();
  const std::int64_t in_epoch = step % steps_per_epoch();
  const std::int64_t in_batch = batch_size(step);
  const std::int64_t quota =
      batch_ / shards_;  // of the full batch: a short batch leaves the last shards short or empty
  first = std::min(shard * quota, in_batch);
  const std::int64_t end = std::min(first + quota, in_batch);
  const std::uint64_t key = mix_key(mix_key(seed_, kShuffle), static_cast<std::uint64_t>(epoch));
  std::vector<std::int64_t> indices;
  indices.reserve(static_cast<std::size_t>(end - first));
  for (std::int64_t position = first; position < end; ++position) {
    const std::int64_t index = in_epoch * batch_ + position;
    if (!order_.shuffle) {
      indices.push_back(index);
    } else if (order_.chunk == 0) {
      indices.push_back(permuted_index(index, samples_, key));
    } else {
      indices.push_back(index_in_chunks(in_epoch * quota + position - first, shard, key));
    }
  }
  return indices;
}

}  // namespace ballast
