// Defines: SampleOrder, BatchPlan: which samples make up a step.
//
// An epoch that is shuffled sample by sample is one keyed permutation, cut into batches and those into shards. Every
// sample is then read at a random place of the whole set. That is the best order, and the slowest where the data is
// larger than a host's page cache.
//
// With `chunk` > 0 samples stay near their neighbours, and each shard has a part of the set for itself:
//   part     of shard s: neighbouring samples, as many as the shard gets in an epoch; the same ones in every epoch
//   chunk    `chunk` neighbouring samples of a part; the last one may be shorter
//   window   16 chunks that follow each other in the order of the epoch, which is a keyed permutation of the part's
//            chunks (a short one stays last). The samples of a window come in a keyed permutation.
// So a worker reads nothing but the parts of its shards, in any epoch; at any time each shard is in 16 chunks, which it
// is done with when the next 16 begin; and a batch has its share of every part. Both orders are computed for each
// sample, without a table, and know nothing of workers or hosts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/shards.h"

namespace ballast {

struct SampleOrder {
  bool shuffle = true;     ///< false: the order of the data
  std::int64_t chunk = 0;  ///< neighbouring samples that are visited at about the same time; 0: none
};

/// Every sample exactly once per epoch for any number of workers; the last batch of an epoch is short.
class BatchPlan {
 public:
  /// Throws ConfigError when the batch cannot be cut into equal shards, DataError naming `source` (the data) when there
  /// are fewer samples than one batch.
  BatchPlan(std::int64_t samples, std::int64_t batch, int shards, SampleOrder order, std::uint64_t seed,
            const std::string& source = "data.train");
  [[nodiscard]] std::int64_t steps_per_epoch() const;
  [[nodiscard]] std::int64_t samples_of(std::int64_t step, ShardRange shards) const;
  [[nodiscard]] std::int64_t batch_size(std::int64_t step) const;  ///< samples of this step's global batch
  /// Data set indices of `shard` at `step` (from 0); `first` is the position of its first sample in the global batch.
  /// The batch is cut into shards of equal size, the last ones shorter or empty in a short batch.
  [[nodiscard]] std::vector<std::int64_t> shard(std::int64_t step, int shard, std::int64_t& first) const;

 private:
  /// Where the part of `shard` begins in the data set.
  [[nodiscard]] std::int64_t part_begin(std::int64_t shard) const;
  /// Of the sample that `shard` visits as number `index` of an epoch.
  [[nodiscard]] std::int64_t index_in_chunks(std::int64_t index, std::int64_t shard, std::uint64_t key) const;

  std::int64_t samples_, batch_;
  int shards_;
  SampleOrder order_;
  std::uint64_t seed_;
};

}  // namespace ballast
