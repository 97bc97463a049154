// Defines: WatchedCommunicator: records every collective and message of a group, and makes sure that all its workers
// make the same calls.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/flight_recorder.h"

namespace ballast {

/// Groups that are split from it are watched too, and end before it.
///
/// Agreement: before a collective touches memory the workers compare a digest of all their collectives up to this one
/// (group, number, kind, count, reduction, root, step). A worker that skipped one, made another or brought another
/// count is noticed at its next collective of the same workers: everyone then throws Error(kDesync), which says who
/// calls what. Costs one all-reduce of 16 bytes per collective; a barrier becomes that all-reduce. Messages differ by
/// design and are not compared.
class WatchedCommunicator final : public Communicator {
 public:
  /// `world`: all workers of the job, each of which passes the same `agree`. References must outlive it.
  WatchedCommunicator(Communicator& world, FlightRecorder& recorder, bool agree);
  WatchedCommunicator(const WatchedCommunicator&) = delete;
  WatchedCommunicator& operator=(const WatchedCommunicator&) = delete;
  ~WatchedCommunicator() override;

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] bool concurrent() const override { return inner_.concurrent(); }
  void barrier() override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override;
  void all_reduce_disjoint(std::span<double> values) override;
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override;
  [[nodiscard]] std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override;
  [[nodiscard]] std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override;
  void check() const override { inner_.check(); }
  void begin_wait() override;
  void end_wait() override;
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour) override;
  [[nodiscard]] std::unique_ptr<Communicator> split_by_node() override;
  [[nodiscard]] std::unique_ptr<SharedSegments> share(std::int64_t bytes, Filling filling) override;

 private:
  /// What workers of the same groups have called so far. Groups with the same workers have one in common, so that a
  /// call of one cannot wait for ever beside a call of the other.
  struct Agreement {
    Communicator& channel;
    std::uint64_t digest = 0;
  };

  WatchedCommunicator(std::unique_ptr<Communicator> part, WatchedCommunicator& parent, std::uint64_t splits);

  template <typename Body>
  auto collective(FlightRecord record, const Body& body);
  void agree(FlightRecord& record);
  [[noreturn]] void report_disagreement(const FlightRecord& mine) const;
  [[nodiscard]] FlightRecord message(FlightCall call, std::size_t bytes, int partner, int tag) const;
  void wait_for_oldest();
  void received(std::uint64_t number);
  [[nodiscard]] int world_rank(int rank) const {
    return rank == kAnyone ? rank : members_[static_cast<std::size_t>(rank)];
  }

  std::unique_ptr<Communicator> owned_;  ///< nothing for the world
  Communicator& inner_;
  FlightRecorder& recorder_;
  std::vector<int> members_;  ///< ranks in the world
  std::uint64_t id_;
  int place_ = -1;
  std::uint64_t sequence_ = 0;
  std::uint64_t splits_ = 0;
  std::unique_ptr<Agreement> own_agreement_;
  Agreement* agreement_ = nullptr;  ///< of the parent where its workers are the same; nullptr: no agreement

  std::mutex messages_;                           // of everything below: a thread may move messages
  std::map<std::uint64_t, FlightRecord> coming_;  ///< receives under way, by the number of the record
  std::uint64_t awaited_ = 0;                     ///< the one that `wait_` stands for
  std::optional<FlightRecord> wait_;              ///< between begin_wait() and end_wait()
};

}  // namespace ballast
