#include "comm/split/transfers.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace ballast {
namespace {

constexpr std::size_t kLeaving = 4;  ///< pieces that MPI holds at a time
constexpr auto kNap = std::chrono::microseconds(100);

/// Calls use(piece, is_last) for the pieces of `bytes`.
template <typename Bytes, typename Use>
void in_pieces(Bytes bytes, const Use& use) {
  constexpr auto kPiece = static_cast<std::size_t>(Transfers::kPieceBytes);
  for (std::size_t first = 0; first < bytes.size(); first += kPiece) {
    use(bytes.subspan(first, std::min(kPiece, bytes.size() - first)), first + kPiece >= bytes.size());
  }
}

}  // namespace

Transfers::~Transfers() {
  try {
    if (std::uncaught_exceptions() == exceptions_) wait_until([this] { return idle(); });
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the job ends, with the error that is under way
  }
  stop();
}

void Transfers::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Transfers::send(std::span<const std::byte> bytes, int to, int tag, const std::function<void()>& left) {
  const std::lock_guard lock(mutex_);
  in_pieces(bytes, [&](std::span<const std::byte> piece, bool last) {
    waiting_.push_back({piece, to, tag, last ? left : nullptr});
  });
  start_thread();
}

void Transfers::receive(std::span<std::byte> bytes, int from, int tag, const std::function<void()>& arrived) {
  const std::lock_guard lock(mutex_);
  in_pieces(bytes, [&](std::span<std::byte> piece, bool last) {
    incoming_[from].push_back({group_.receive(piece, from, tag), last ? arrived : nullptr});
  });
  start_thread();
}

void Transfers::wait_until(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
  if (condition()) return;
  const MessageWait wait(group_);
  while (!condition()) {
    if (failure_) std::rethrow_exception(failure_);
    if (thread_.joinable()) {
      changed_.wait(lock);
    } else if (!move()) {
      lock.unlock();
      std::this_thread::sleep_for(kNap);
      lock.lock();
    }
  }
}

void Transfers::wait_for_sends() {
  wait_until([this] { return waiting_.empty() && leaving_count_ == 0; });
}

void Transfers::turn() {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) move();
}

void Transfers::start_thread() {
  if (group_.concurrent() && !thread_.joinable()) thread_ = std::thread(&Transfers::run_thread, this);
  changed_.notify_all();
}

void Transfers::run_thread() {
  std::unique_lock lock(mutex_);
  try {
    while (true) {
      changed_.wait(lock, [this] { return stop_ || !idle(); });
      if (stop_) return;
      if (move()) {
        changed_.notify_all();
        continue;
      }
      lock.unlock();
      std::this_thread::sleep_for(kNap);
      lock.lock();
    }
  } catch (...) {
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

bool Transfers::idle() const {
  return waiting_.empty() && leaving_count_ == 0 &&
         std::all_of(incoming_.begin(), incoming_.end(), [](const auto& entry) { return entry.second.empty(); });
}

bool Transfers::move() {
  const std::size_t left = finish(leaving_);
  leaving_count_ -= left;
  bool moved = left > 0;
  while (leaving_count_ < kLeaving && !waiting_.empty()) {
    Message& next = waiting_.front();
    leaving_[next.partner].push_back({group_.send(next.bytes, next.partner, next.tag), std::move(next.left)});
    waiting_.pop_front();
    ++leaving_count_;
    moved = true;
  }
  return finish(incoming_) > 0 || moved;
}

std::size_t Transfers::finish(std::map<int, std::deque<Piece>>& queues) {
  std::size_t count = 0;
  for (auto& [partner, queue] : queues) {
    for (; !queue.empty() && queue.front().request->test(); ++count) {
      if (queue.front().done) queue.front().done();
      queue.pop_front();
    }
  }
  return count;
}

}  // namespace ballast
