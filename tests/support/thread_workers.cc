#include "tests/support/thread_workers.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>
#include <utility>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::size_t kPage = 4096;

/// Thrown into workers that wait for one that failed.
class NeighbourFailed : public Error {
 public:
  NeighbourFailed() : Error("another worker failed") {}
};

struct Transfer {
  std::byte* bytes = nullptr;
  std::size_t size = 0;
  int from = 0;  // may be kAnyone in a receive
  bool done = false;
};

/// Messages to one worker with one tag that wait for their other half.
struct Channel {
  std::deque<Transfer*> sends;
  std::deque<Transfer*> receives;
};

bool match(const Transfer& a, const Transfer& b) {
  return a.from == b.from || a.from == Communicator::kAnyone || b.from == Communicator::kAnyone;
}

struct Group {
  std::vector<int> members;                         ///< world ranks
  std::map<std::pair<int, int>, Channel> channels;  ///< by (to, tag)
  std::vector<std::vector<std::byte>> parts;        ///< of the all-gather under way
  int arrived = 0;
  int leaving = 0;
};

struct FreePages {
  void operator()(std::byte* start) const { ::operator delete[](start, std::align_val_t(kPage)); }
};

/// Everything that the threads share, under one mutex.
struct World {
  int workers_per_node = 1;
  std::mutex mutex;
  std::condition_variable changed;
  bool failed = false;
  std::deque<Group> groups;
  std::vector<std::unique_ptr<std::byte[], FreePages>> segments;

  template <typename Condition>
  void wait(std::unique_lock<std::mutex>& lock, const Condition& condition) {
    changed.wait(lock, [&] { return failed || condition(); });
    if (!condition()) throw NeighbourFailed();
  }
  void fail() {
    const std::lock_guard lock(mutex);
    failed = true;
    changed.notify_all();
  }
};

class ThreadRequest final : public Request {
 public:
  ThreadRequest(World& world, Channel& channel, Transfer transfer, bool sends)
      : world_(world), channel_(channel), transfer_(transfer), mine_(sends ? channel.sends : channel.receives) {
    const std::lock_guard lock(world_.mutex);
    std::deque<Transfer*>& theirs = sends ? channel_.receives : channel_.sends;
    const auto found = std::ranges::find_if(theirs, [&](const Transfer* other) { return match(*other, transfer_); });
    if (found == theirs.end()) {
      mine_.push_back(&transfer_);
      return;
    }
    Transfer& partner = **found;
    require(partner.size == transfer_.size, "a message and its receive differ in length");
    const Transfer& from = sends ? transfer_ : partner;
    const Transfer& to = sends ? partner : transfer_;
    if (from.size > 0) std::memcpy(to.bytes, from.bytes, from.size);
    theirs.erase(found);
    partner.done = transfer_.done = true;
    world_.changed.notify_all();
  }
  ThreadRequest(const ThreadRequest&) = delete;
  ThreadRequest& operator=(const ThreadRequest&) = delete;
  ~ThreadRequest() override {
    std::unique_lock lock(world_.mutex);
    const bool unwinding = std::uncaught_exceptions() > exceptions_;
    world_.changed.wait(lock, [&] { return transfer_.done || unwinding || world_.failed; });
    if (!transfer_.done) mine_.erase(std::find(mine_.begin(), mine_.end(), &transfer_));
  }
  void wait() override {
    std::unique_lock lock(world_.mutex);
    world_.wait(lock, [&] { return transfer_.done; });
  }
  bool test() override {
    const std::lock_guard lock(world_.mutex);
    if (world_.failed && !transfer_.done) throw NeighbourFailed();
    return transfer_.done;
  }

 private:
  World& world_;
  Channel& channel_;
  Transfer transfer_;
  std::deque<Transfer*>& mine_;
  int exceptions_ = std::uncaught_exceptions();
};

class ThreadSegments final : public SharedSegments {
 public:
  explicit ThreadSegments(std::vector<std::span<std::byte>> segments) : segments_(std::move(segments)) {}
  [[nodiscard]] std::span<std::byte> of(int rank) const override { return segments_[static_cast<std::size_t>(rank)]; }
  void discard(std::span<std::byte> part) override { std::fill(part.begin(), part.end(), std::byte{0}); }

 private:
  std::vector<std::span<std::byte>> segments_;
};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <typename T>
T value_of(const std::vector<std::byte>& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

class ThreadCommunicator final : public Communicator {
 public:
  [[nodiscard]] bool concurrent() const override { return true; }
  ThreadCommunicator(World& world, Group& group, int rank) : world_(world), group_(group), rank_(rank) {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return static_cast<int>(group_.members.size()); }

  void check() const override {
    const std::lock_guard lock(world_.mutex);
    if (world_.failed) throw NeighbourFailed();
  }

  void barrier() override { static_cast<void>(all_gather({})); }

  void broadcast(std::span<std::byte> bytes, int root) override {
    const auto parts = all_gather(rank_ == root ? bytes : std::span<std::byte>());
    const std::vector<std::byte>& part = parts[static_cast<std::size_t>(root)];
    require(part.size() == bytes.size(), "broadcast: workers pass different lengths");
    if (rank_ != root) std::copy(part.begin(), part.end(), bytes.begin());
  }

  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    combine(values, [&](std::int64_t a, std::int64_t b) {
      if (reduction == Reduction::kMin) return std::min(a, b);
      return reduction == Reduction::kMax ? std::max(a, b) : a + b;
    });
  }

  void all_reduce_disjoint(std::span<double> values) override {
    combine(values, [](double a, double b) {
      require(a == 0.0 || b == 0.0, "all_reduce_disjoint: two workers gave the same element");
      return a + b;
    });
  }

  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    std::unique_lock lock(world_.mutex);
    world_.wait(lock, [&] { return group_.leaving == 0; });
    group_.parts.resize(group_.members.size());
    group_.parts[static_cast<std::size_t>(rank_)].assign(mine.begin(), mine.end());
    if (++group_.arrived == size()) {
      group_.leaving = size();
      world_.changed.notify_all();
    } else {
      world_.wait(lock, [&] { return group_.leaving > 0; });
    }
    auto parts = group_.parts;
    if (--group_.leaving == 0) {
      group_.arrived = 0;
      world_.changed.notify_all();
    }
    return parts;
  }

  [[nodiscard]] std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    auto* start = const_cast<std::byte*>(bytes.data());  // only read: Transfer serves both directions
    return std::make_unique<ThreadRequest>(world_, channel(to, tag), Transfer{start, bytes.size(), rank_}, true);
  }

  [[nodiscard]] std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    return std::make_unique<ThreadRequest>(world_, channel(rank_, tag), Transfer{bytes.data(), bytes.size(), from},
                                           false);
  }

  [[nodiscard]] std::unique_ptr<Communicator> split(int colour) override {
    std::vector<int> members;
    int my_rank = 0;
    int first = -1;
    const auto colours = all_gather(bytes_of(colour));
    for (int r = 0; r < size(); ++r) {
      if (value_of<int>(colours[static_cast<std::size_t>(r)]) != colour) continue;
      if (first < 0) first = r;
      if (r == rank_) my_rank = static_cast<int>(members.size());
      members.push_back(group_.members[static_cast<std::size_t>(r)]);
    }
    Group* group = nullptr;
    if (first == rank_) {
      const std::lock_guard lock(world_.mutex);
      group = &world_.groups.emplace_back();
      group->members = members;
    }
    group = value_of<Group*>(all_gather(bytes_of(group))[static_cast<std::size_t>(first)]);
    return std::make_unique<ThreadCommunicator>(world_, *group, my_rank);
  }

  [[nodiscard]] std::unique_ptr<Communicator> split_by_node() override {
    return split(group_.members[static_cast<std::size_t>(rank_)] / world_.workers_per_node);
  }

  [[nodiscard]] std::unique_ptr<SharedSegments> share(std::int64_t bytes, Filling /*filling*/) override {
    const auto size = static_cast<std::size_t>(bytes);
    auto* start = static_cast<std::byte*>(::operator new[](std::max<std::size_t>(size, 1), std::align_val_t(kPage)));
    std::memset(start, 0, size);
    {
      const std::lock_guard lock(world_.mutex);
      world_.segments.emplace_back(start);
    }
    std::vector<std::span<std::byte>> segments;
    for (const auto& part : all_gather(bytes_of(std::span<std::byte>(start, size)))) {
      segments.push_back(value_of<std::span<std::byte>>(part));
    }
    return std::make_unique<ThreadSegments>(std::move(segments));
  }

 private:
  template <typename T, typename Operation>
  void combine(std::span<T> values, const Operation& operation) {
    const auto parts = all_gather(std::as_bytes(values));
    for (std::size_t i = 0; i < values.size(); ++i) {
      T sum{};
      for (std::size_t r = 0; r < parts.size(); ++r) {
        T value;
        std::memcpy(&value, parts[r].data() + i * sizeof(T), sizeof(T));
        sum = r == 0 ? value : operation(sum, value);
      }
      values[i] = sum;
    }
  }

  [[nodiscard]] Channel& channel(int to, int tag) {
    const std::lock_guard lock(world_.mutex);
    return group_.channels[{to, tag}];
  }

  World& world_;
  Group& group_;
  int rank_;
};

bool is_original(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const NeighbourFailed&) {
    return false;
  } catch (...) {
    return true;
  }
}

}  // namespace

void run_workers(int workers, const std::function<void(Communicator&)>& body) { run_workers(workers, workers, body); }

void run_workers(int workers, int workers_per_node, const std::function<void(Communicator&)>& body) {
  World world;
  world.workers_per_node = workers_per_node;
  Group& everyone = world.groups.emplace_back();
  everyone.members.resize(static_cast<std::size_t>(workers));
  std::iota(everyone.members.begin(), everyone.members.end(), 0);

  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(workers));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < workers; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadCommunicator mine(world, everyone, rank);
        body(mine);
      } catch (...) {
        failures[static_cast<std::size_t>(rank)] = std::current_exception();
        world.fail();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure && is_original(failure)) std::rethrow_exception(failure);
  }
}

}  // namespace ballast
