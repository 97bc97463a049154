// Defines: Transfers: messages between nodes, moving beside the worker's computation.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "comm/communicator.h"

namespace ballast {

/// MPI moves bytes while it is called, and a worker computes for long stretches. So a thread calls it, where the
/// communicator allows that; it sleeps while there is nothing to move. Elsewhere transfers move in turn() and while
/// somebody waits.
///
/// Messages travel in pieces that MPI may send at once ("eagerly"). Larger ones begin with a handshake, whose answer
/// stands in line behind the bulk that travels the other way: measured on four hosts at 1 Gbit/s, that halves the rate.
/// Sends leave in the order of the calls, a few at a time: a queue in MPI would copy them all.
class Transfers {
 public:
  static constexpr std::int64_t kPieceBytes = 256 << 10;

  /// `group` outlives it and is used by nothing else meanwhile.
  explicit Transfers(Communicator& group) : group_(group) {}
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;
  /// Waits for what is under way, unless an exception unwinds.
  ~Transfers();

  [[nodiscard]] Communicator& group() const { return group_; }
  /// Ends the thread. What is under way stays so.
  void stop();
  /// `bytes` must hold until `left` is called, from any thread, or wait_for_sends() has returned.
  void send(std::span<const std::byte> bytes, int to, int tag, const std::function<void()>& left = {});
  /// Posted at once. Calls `arrived` from any thread when the bytes are there. Those of one worker arrive in order.
  void receive(std::span<std::byte> bytes, int from, int tag, const std::function<void()>& arrived);
  /// Returns when `condition`, which an `arrived` made true, holds.
  void wait_until(const std::function<bool()>& condition);
  void wait_for_sends();
  /// Moves what there is to move, where no thread does.
  void turn();

 private:
  struct Message {
    std::span<const std::byte> bytes;
    int partner = 0, tag = 0;
    std::function<void()> left;
  };
  struct Piece {
    std::unique_ptr<Request> request;
    std::function<void()> done;  ///< empty but in a message's last piece
  };

  void start_thread();
  void run_thread();
  [[nodiscard]] bool idle() const;
  bool move();  ///< true when something moved; under mutex_
  /// Finished ones at the front of each queue; returns how many.
  static std::size_t finish(std::map<int, std::deque<Piece>>& queues);

  Communicator& group_;
  std::mutex mutex_;  // of everything below
  std::condition_variable changed_;
  std::deque<Message> waiting_;
  std::map<int, std::deque<Piece>> leaving_;  ///< by partner
  std::size_t leaving_count_ = 0;
  std::map<int, std::deque<Piece>> incoming_;  ///< by partner
  std::exception_ptr failure_;
  bool stop_ = false;
  int exceptions_ = std::uncaught_exceptions();
  std::thread thread_;  ///< from the first transfer on
};

}  // namespace ballast
