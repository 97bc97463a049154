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

void Transfers::send(std::span<const std::byte> bytes, int to, int tag) {
  const std::lock_guard lock(mutex_);
  in_pieces(bytes, [&](std::span<const std::byte> piece, bool) { waiting_.push_back({piece, to, tag}); });
  start_thread();
}

void Transfers::receive(std::span<std::byte> bytes, int from, int tag, std::function<void()> arrived) {
  const std::lock_guard lock(mutex_);
  in_pieces(bytes, [&](std::span<std::byte> piece, bool last) {
    incoming_[from].push_back({group_.receive(piece, from, tag), last ? std::move(arrived) : nullptr});
  });
  start_thread();
}

void Transfers::wait_until(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
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
  wait_until([this] { return waiting_.empty() && leaving_.empty(); });
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
  return waiting_.empty() && leaving_.empty() &&
         std::all_of(incoming_.begin(), incoming_.end(), [](const auto& entry) { return entry.second.empty(); });
}

bool Transfers::move() {
  const bool sent = move_sends();
  return move_receives() || sent;
}

bool Transfers::move_sends() {
  const std::size_t before = leaving_.size();
  std::erase_if(leaving_, [](const std::unique_ptr<Request>& request) { return request->test(); });
  bool moved = leaving_.size() < before;
  while (leaving_.size() < kLeaving && !waiting_.empty()) {
    const Message& next = waiting_.front();
    leaving_.push_back(group_.send(next.bytes, next.partner, next.tag));
    waiting_.pop_front();
    moved = true;
  }
  return moved;
}

bool Transfers::move_receives() {
  bool moved = false;
  for (auto& [partner, queue] : incoming_) {
    while (!queue.empty() && queue.front().request->test()) {
      if (queue.front().arrived) queue.front().arrived();
      queue.pop_front();
      moved = true;
    }
  }
  return moved;
}

}  // namespace ballast
