// A job that ends in the way its first argument names. Run under mpirun by mpi_session_test.cc.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "comm/mpi_session.h"
#include "comm/split_allreduce.h"
#include "compute/error.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

/// The name of the job's shared-memory files, if MPI makes any, holds its id.
void print_job_id() {
  const char* id = std::getenv("PMIX_NAMESPACE");
  std::printf("job id %s\n", id == nullptr ? "0" : id);
  std::fflush(stdout);
}

/// Fails inside backward, with messages under way and neighbours that wait for them.
void fail_in_a_step(Communicator& world, bool share_memory, int failing_rank) {
  ReferenceBackend backend;
  std::vector<Block> blocks;
  constexpr std::int64_t kElements = 100000;
  for (std::int64_t b = 0; b < 10; ++b) blocks.push_back({b * kElements, (b + 1) * kElements, DType::kF32});
  const auto split = make_split_allreduce(world, backend, 10 * kElements, blocks, false,
                                          {.shards = world.size(), .bucket_bytes = 1, .share_memory = share_memory});
  split->begin_step();
  static_cast<void>(split->gradients(world.rank()));
  split->gradients_ready(5 * kElements);
  if (world.rank() == failing_rank) throw DataError("train.bin: record 17 is damaged");
  split->shard_done(world.rank());
  split->reduce();
  split->publish();
}

void run(const std::string& way, Communicator& world) {
  const int last = world.size() - 1;
  if (way == "all-throw") throw ConfigError("optimizer.lr = -1: must be positive");
  if (way == "one-throws" && world.rank() == last) throw ConfigError("optimizer.lr = -1: must be positive");
  if (way == "foreign-exception" && world.rank() == last) throw std::length_error("vector too long");
  if (way == "thread-throws" && world.rank() == last) std::thread([] { throw Error("a thread failed"); }).join();
  if (way == "step-fails") fail_in_a_step(world, false, last);
  if (way == "shared-step-fails") fail_in_a_step(world, true, last);
  if (way == "killed") {
    const auto segments = world.split_by_node()->share(1 << 20);
    segments->of(world.rank())[0] = std::byte{1};
    print_job_id();
    world.barrier();
    if (world.rank() == last) std::raise(SIGKILL);
  }
  if (way != "succeeds") world.barrier();
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  const std::string way = argc > 1 ? argv[1] : "succeeds";
  if (way == "unwinds") {
    try {
      ballast::MpiSession session(argc, argv);
      if (session.world().rank() == session.world().size() - 1) throw ballast::Error("thrown past the session");
      session.world().barrier();
    } catch (const std::exception&) {
      std::puts("not reached: the session's destructor has ended the job");
    }
    return 0;
  }
  ballast::MpiSession session(argc, argv);
  try {
    ballast::run(way, session.world());
    return 0;
  } catch (const std::exception& error) {
    session.abort(error);
  }
}
