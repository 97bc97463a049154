// Defines: MpiCommunicator.
#pragma once

#include <mpi.h>

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi/request.h"

namespace ballast {

/// Owns an MPI communicator that returns errors. Collectives are non-blocking calls plus wait_for(), so that nobody
/// burns a core that another worker needs.
class MpiCommunicator final : public Communicator {
 public:
  /// Takes over `group`, which must be a duplicate or a split of ours. `bulk` is how to wait for sends and receives.
  MpiCommunicator(MPI_Comm group, Patience bulk);
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;
  ~MpiCommunicator() override;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] bool concurrent() const override;
  void barrier() override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override;
  void all_reduce_disjoint(std::span<double> values) override;
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override;
  [[nodiscard]] std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override;
  [[nodiscard]] std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override;
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour) override;
  [[nodiscard]] std::unique_ptr<Communicator> split_by_node() override;
  [[nodiscard]] std::unique_ptr<SharedSegments> share(std::int64_t bytes, Filling filling) override;

 private:
  void reduce_in_place(void* values, std::size_t count, MPI_Datatype type, MPI_Op operation);

  MPI_Comm group_;
  Patience bulk_;
  int rank_ = 0;
  int size_ = 1;
  int exceptions_ = std::uncaught_exceptions();
};

/// Collective over MPI_COMM_WORLD.
[[nodiscard]] std::unique_ptr<Communicator> make_mpi_world();

}  // namespace ballast
