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
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "comm/communicator.h"

namespace ballast {

/// MPI moves bytes while it is called, and a worker computes for long stretches. So a thread calls it, where the
/// communicator allows that; it sleeps while there is nothing to move. Elsewhere transfers move in turn() and while
/// somebody waits.
///
/// Messages travel in pieces that MPI may send at once ("eagerly"). Larger ones begin with a handshake, whose answer
/// stands in line behind the bulk that travels the other way: measured on four hosts at 1 Gbit/s, that halves the rate.
/// Sends leave in the order of the calls, a few at a time: a queue in MPI would copy them all. Urgent ones overtake.
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
  /// Likewise, before those that are not urgent: somebody stands still until it is there.
  void send_urgent(std::span<const std::byte> bytes, int to, int tag);
  /// Posted at once. Calls `arrived` from any thread when the bytes are there. Those of one worker and tag arrive in
  /// order.
  void receive(std::span<std::byte> bytes, int from, int tag, const std::function<void()>& arrived);
  /// Returns when `condition`, which an `arrived` made true, holds.
  void wait_until(const std::function<bool()>& condition);
  /// The same for a condition that other processes make true.
  void poll_until(const std::function<bool()>& condition);
  void wait_for_sends();
  /// Receives `note` from anyone, at most one piece, again and again, until `arrived` returns false. It is called by
  /// the thread, without a lock, and may send. Needs a communicator that is concurrent(). Once.
  void listen(std::span<std::byte> note, int tag, std::function<bool()> arrived);
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

  struct Listener {
    std::span<std::byte> note;
    int tag = 0;
    std::function<bool()> arrived;
    std::unique_ptr<Request> request;
  };
  using Queues = std::map<std::pair<int, int>, std::deque<Piece>>;  ///< by partner and tag
  struct Outbox {
    std::deque<Message> waiting;
    Queues leaving;
    std::size_t leaving_count = 0;
    [[nodiscard]] bool empty() const { return waiting.empty() && leaving_count == 0; }
  };

  void start_thread();
  void run_thread();
  [[nodiscard]] bool idle() const;
  bool hear(std::unique_lock<std::mutex>& lock);  ///< true when a note was there
  bool move();                                    ///< true when something moved; under mutex_
  bool move(Outbox& sends);
  /// Finished ones at the front of each queue; returns how many.
  static std::size_t finish(Queues& queues);

  Communicator& group_;
  std::mutex mutex_;  // of everything below
  std::condition_variable changed_;
  /// Apart, because bulk may wait for receives that somebody posts only when he has got what is urgent.
  Outbox urgent_, bulk_;
  Queues incoming_;
  std::optional<Listener> listener_;  ///< set once, then the thread's
  std::exception_ptr failure_;
  bool stop_ = false;
  int exceptions_ = std::uncaught_exceptions();
  std::thread thread_;  ///< from the first transfer on
};

}  // namespace ballast
