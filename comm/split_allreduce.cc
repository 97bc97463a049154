#include "comm/split_allreduce.h"

#include <string>
#include <utility>

#include "comm/device/device_allreduce.h"
#include "comm/device/open_exchange.h"
#include "comm/split/node_allreduce.h"
#include "compute/error.h"

namespace ballast {
namespace {

void check_arguments(int workers, std::int64_t flat_size, const std::vector<Block>& blocks, bool bf16, int shards) {
  if (workers > shards) {
    const std::string s = std::to_string(shards);
    throw ConfigError(std::to_string(workers) + " workers but batch.shards = " + s + ": start at most " + s +
                      " workers or set batch.shards to at least " + std::to_string(workers));
  }
  std::int64_t end = 0;
  for (const Block& block : blocks) {
    require(end <= block.begin && block.begin < block.end && block.end <= flat_size,
            "SplitAllReduce: blocks must be in rising order, apart and inside the flat buffer");
    require(block.publish == DType::kF32 || (bf16 && block.publish == DType::kBF16),
            "SplitAllReduce: a block's published type must be f32, or bf16 where there is a bf16 copy");
    end = block.end;
  }
}

}  // namespace

std::unique_ptr<SplitAllReduce> make_split_allreduce(Communicator& world, Backend& backend, std::int64_t flat_size,
                                                     std::vector<Block> blocks, bool bf16,
                                                     const SplitAllReduceOptions& options) {
  check_arguments(world.size(), flat_size, blocks, bf16, options.shards);
  if (!backend.host_addressable()) {
    if (options.sharding != Sharding::kOptimizer) {
      throw ConfigError(
          "comm.sharding = \"gradients\" and \"values\" need memory that the host can address: with GPUs set "
          "comm.sharding = \"optimizer\", or compute.backend = \"cpu\"");
    }
    auto exchange = open_exchange(world, backend, options.plugins, options.timeout_seconds);
    return std::make_unique<DeviceAllReduce>(world, backend, flat_size, std::move(blocks), bf16, options,
                                             std::move(exchange));
  }
  return std::make_unique<NodeAllReduce>(world, backend, flat_size, std::move(blocks), bf16, options);
}

}  // namespace ballast
