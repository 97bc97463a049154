#include "comm/mpi/mpi_communicator.h"

#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "comm/mpi/check.h"
#include "comm/mpi/shared_segments.h"
#include "compute/error.h"

namespace ballast {
namespace {

/// MPI counts in int. Small enough that tests can afford a message of several pieces.
constexpr std::size_t kPieceBytes = std::size_t{1} << 28;

/// Calls transfer(first, count) for runs of at most `piece` of `total` elements.
template <typename Transfer>
void in_pieces(std::size_t total, std::size_t piece, const Transfer& transfer) {
  for (std::size_t first = 0; first < total; first += piece) {
    transfer(first, static_cast<int>(std::min(piece, total - first)));
  }
}

void wait_for_one(MPI_Request request) {
  std::vector<MPI_Request> requests{request};
  wait_for(requests, Patience::kSleep);
}

MPI_Op operation_of(Reduction reduction) {
  if (reduction == Reduction::kMin) return MPI_MIN;
  return reduction == Reduction::kMax ? MPI_MAX : MPI_SUM;
}

std::vector<int> as_counts(const std::vector<std::int64_t>& lengths) { return {lengths.begin(), lengths.end()}; }

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm group, Patience bulk) : group_(group), bulk_(bulk) {
  check_mpi(MPI_Comm_set_errhandler(group_, MPI_ERRORS_RETURN));
  check_mpi(MPI_Comm_rank(group_, &rank_));
  check_mpi(MPI_Comm_size(group_, &size_));
}

MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  // Freeing is collective: an unwinding worker would wait for the others, and its message would never be read.
  if (finalized == 0 && std::uncaught_exceptions() == exceptions_) MPI_Comm_free(&group_);
}

bool MpiCommunicator::concurrent() const {
  int level = MPI_THREAD_SINGLE;
  check_mpi(MPI_Query_thread(&level));
  return level == MPI_THREAD_MULTIPLE;
}

void MpiCommunicator::barrier() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(group_, &request));
  wait_for_one(request);
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  in_pieces(bytes.size(), kPieceBytes, [&](std::size_t first, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(bytes.data() + first, count, MPI_BYTE, root, group_, &request));
    wait_for_one(request);
  });
}

void MpiCommunicator::reduce_in_place(void* values, std::size_t count, MPI_Datatype type, MPI_Op operation) {
  constexpr std::size_t kElementBytes = 8;
  in_pieces(count, kPieceBytes / kElementBytes, [&](std::size_t first, int piece) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, static_cast<std::byte*>(values) + first * kElementBytes, piece, type,
                             operation, group_, &request));
    wait_for_one(request);
  });
}

void MpiCommunicator::all_reduce(std::span<std::int64_t> values, Reduction reduction) {
  reduce_in_place(values.data(), values.size(), MPI_INT64_T, operation_of(reduction));
}

void MpiCommunicator::all_reduce_disjoint(std::span<double> values) {
  reduce_in_place(values.data(), values.size(), MPI_DOUBLE, MPI_SUM);
}

std::vector<std::vector<std::byte>> MpiCommunicator::all_gather(std::span<const std::byte> mine) {
  const auto length = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(size_));
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(&length, 1, MPI_INT64_T, lengths.data(), 1, MPI_INT64_T, group_, &request));
  wait_for_one(request);

  std::vector<std::vector<std::byte>> parts;
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  if (total <= static_cast<std::int64_t>(kPieceBytes)) {
    const std::vector<int> counts = as_counts(lengths);
    std::vector<int> offsets(counts.size());
    std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
    std::vector<std::byte> all(static_cast<std::size_t>(total));
    check_mpi(MPI_Iallgatherv(mine.data(), static_cast<int>(length), MPI_BYTE, all.data(), counts.data(),
                              offsets.data(), MPI_BYTE, group_, &request));
    wait_for_one(request);
    for (std::size_t r = 0; r < counts.size(); ++r) {
      const auto begin = all.begin() + offsets[r];
      parts.emplace_back(begin, begin + counts[r]);
    }
    return parts;
  }
  for (int r = 0; r < size_; ++r) {  // offsets would not fit an int
    auto& part = parts.emplace_back(static_cast<std::size_t>(lengths[static_cast<std::size_t>(r)]));
    if (r == rank_) std::copy(mine.begin(), mine.end(), part.begin());
    broadcast(part, r);
  }
  return parts;
}

std::unique_ptr<Request> MpiCommunicator::send(std::span<const std::byte> bytes, int to, int tag) {
  std::vector<MPI_Request> pieces;
  in_pieces(bytes.size(), kPieceBytes, [&](std::size_t first, int count) {
    check_mpi(
        MPI_Isend(bytes.data() + first, count, MPI_BYTE, to, tag, group_, &pieces.emplace_back(MPI_REQUEST_NULL)));
  });
  return std::make_unique<MpiRequest>(std::move(pieces), bulk_);
}

std::unique_ptr<Request> MpiCommunicator::receive(std::span<std::byte> bytes, int from, int tag) {
  std::vector<MPI_Request> pieces;
  if (from == kAnyone) from = MPI_ANY_SOURCE;
  in_pieces(bytes.size(), kPieceBytes, [&](std::size_t first, int count) {
    check_mpi(
        MPI_Irecv(bytes.data() + first, count, MPI_BYTE, from, tag, group_, &pieces.emplace_back(MPI_REQUEST_NULL)));
  });
  return std::make_unique<MpiRequest>(std::move(pieces), bulk_);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int colour) {
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(group_, colour, rank_, &part));
  return std::make_unique<MpiCommunicator>(part, bulk_);
}

std::unique_ptr<Communicator> MpiCommunicator::split_by_node() {
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(group_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
  return std::make_unique<MpiCommunicator>(node, bulk_);
}

std::unique_ptr<SharedSegments> MpiCommunicator::share(std::int64_t bytes, Filling filling) {
  if (size_ == 1) return share_with_nobody(bytes, filling);
  std::string cause;
  if (auto segments = share_by_descriptor(*this, bytes, filling, cause)) return segments;
  return share_by_window(*this, group_, bytes, filling, cause);
}

std::unique_ptr<Communicator> make_mpi_world() {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &copy));
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  int workers = 1;
  check_mpi(MPI_Comm_size(node, &workers));
  check_mpi(MPI_Comm_free(&node));
  const bool crowded = workers > sysconf(_SC_NPROCESSORS_ONLN);
  return std::make_unique<MpiCommunicator>(copy, crowded ? Patience::kSleep : Patience::kYield);
}

}  // namespace ballast
