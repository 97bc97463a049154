#include "comm/split/transfers.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::size_t kLeaving = 4;  ///< pieces of a kind that MPI holds at a time
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
    bulk_.waiting.push_back({piece, to, tag, last ? left : nullptr});
  });
  start_thread();
}

void Transfers::send_urgent(std::span<const std::byte> bytes, int to, int tag) {
  const std::lock_guard lock(mutex_);
  in_pieces(bytes, [&](std::span<const std::byte> piece, bool) {
    urgent_.waiting.push_back({piece, to, tag, nullptr});
  });
  start_thread();
}

void Transfers::receive(std::span<std::byte> bytes, int from, int tag, const std::function<void()>& arrived) {
  const std::lock_guard lock(mutex_);
  in_pieces(bytes, [&](std::span<std::byte> piece, bool last) {
    incoming_[{from, tag}].push_back({group_.receive(piece, from, tag), last ? arrived : nullptr});
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

void Transfers::poll_until(const std::function<bool()>& condition) {
  if (condition()) return;
  const MessageWait wait(group_);
  while (!condition()) {
    {
      const std::lock_guard lock(mutex_);
      if (failure_) std::rethrow_exception(failure_);
      if (!thread_.joinable()) move();
    }
    group_.check();
    std::this_thread::sleep_for(kNap);
  }
}

void Transfers::wait_for_sends() {
  wait_until([this] { return urgent_.empty() && bulk_.empty(); });
}

void Transfers::listen(std::span<std::byte> note, int tag, std::function<bool()> arrived) {
  require(group_.concurrent(), "Transfers: only a thread can listen");
  const std::lock_guard lock(mutex_);
  listener_ = Listener{note, tag, std::move(arrived), group_.receive(note, Communicator::kAnyone, tag)};
  start_thread();
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
      changed_.wait(lock, [this] { return stop_ || listener_ || !idle(); });
      if (stop_) return;
      const bool heard = hear(lock);
      if (move() || heard) {
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

bool Transfers::hear(std::unique_lock<std::mutex>& lock) {
  if (!listener_ || !listener_->request->test()) return false;
  lock.unlock();
  const bool more = listener_->arrived();
  lock.lock();
  if (more) {
    listener_->request = group_.receive(listener_->note, Communicator::kAnyone, listener_->tag);
  } else {
    listener_.reset();
  }
  return true;
}

bool Transfers::idle() const {
  return urgent_.empty() && bulk_.empty() &&
         std::all_of(incoming_.begin(), incoming_.end(), [](const auto& entry) { return entry.second.empty(); });
}

bool Transfers::move() {
  const bool urgent = move(urgent_), bulk = move(bulk_);
  return finish(incoming_) > 0 || urgent || bulk;
}

bool Transfers::move(Outbox& sends) {
  const std::size_t left = finish(sends.leaving);
  sends.leaving_count -= left;
  bool moved = left > 0;
  while (sends.leaving_count < kLeaving && !sends.waiting.empty()) {
    Message& next = sends.waiting.front();
    sends.leaving[{next.partner, next.tag}].push_back(
        {group_.send(next.bytes, next.partner, next.tag), std::move(next.left)});
    sends.waiting.pop_front();
    ++sends.leaving_count;
    moved = true;
  }
  return moved;
}

std::size_t Transfers::finish(Queues& queues) {
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
