// Defines: bucket_bytes, BucketChoice, choose_buckets: how large a job's buckets are.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "comm/link_cost.h"
#include "comm/split_allreduce.h"
#include "compute/backend.h"
#include "runtime/job.h"

namespace ballast {

/// What comm.bucket_mib stands for on processors. "auto" is 8 MiB on one node, where nothing travels, and else what
/// comm/bucket_size.h makes of the network for a gradient of `elements`.
[[nodiscard]] std::int64_t bucket_bytes(const CommSection& comm, std::int64_t elements, std::int64_t nodes,
                                        std::int64_t workers, const LinkCost& link);

struct BucketChoice {
  std::int64_t bytes = SplitAllReduceOptions{}.bucket_bytes;
  std::string note;  ///< on rank 0, what was measured and follows from it; empty: nothing was
};

/// Collective over the job's workers, all of which come to the same choice. Where "auto" depends on the network, one
/// worker of every node measures it (comm/link_probe.h), rank 0 decides and tells the others. Backends whose memory the
/// host cannot address exchange by other means than messages of MPI: nothing is measured, and "auto" is 8 MiB. No
/// choice changes a result.
[[nodiscard]] BucketChoice choose_buckets(const CommSection& comm, std::int64_t elements, const Backend& backend,
                                          Communicator& world);

}  // namespace ballast
