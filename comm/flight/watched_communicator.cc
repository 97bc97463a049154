#include "comm/watched_communicator.h"

#include <cstring>
#include <functional>
#include <numeric>
#include <span>
#include <utility>

#include "comm/flight/disagreement.h"
#include "compute/error.h"

namespace ballast {
namespace {

/// Spreads every bit of `value` over the digest (the finaliser of splitmix64, Steele et al. 2014).
std::uint64_t mix(std::uint64_t digest, std::uint64_t value) {
  std::uint64_t x = (digest ^ value) + 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// Lengths may differ between workers in these.
bool has_common_count(FlightCall call) { return call != FlightCall::kAllGather && call != FlightCall::kShare; }

std::uint64_t digest_of(std::uint64_t digest, const FlightRecord& record) {
  const auto kind = static_cast<std::uint64_t>(record.call) << 8 | static_cast<std::uint64_t>(record.reduction);
  const auto count = has_common_count(record.call) ? static_cast<std::uint64_t>(record.count) : 0;
  for (const std::uint64_t value : {record.group, record.sequence, kind, count, static_cast<std::uint64_t>(record.step),
                                    static_cast<std::uint64_t>(record.partner)}) {
    digest = mix(digest, value);
  }
  return digest;
}

std::vector<int> members_of(Communicator& part, int world_rank) {
  std::vector<int> members;
  for (const auto& bytes : part.all_gather(std::as_bytes(std::span(&world_rank, 1)))) {
    std::memcpy(&members.emplace_back(), bytes.data(), sizeof(int));
  }
  return members;
}

std::vector<int> counted(int size) {
  std::vector<int> members(static_cast<std::size_t>(size));
  std::iota(members.begin(), members.end(), 0);
  return members;
}

/// Ends the record also when the call throws: a worker that fails does not wait any more.
class Recorded {
 public:
  Recorded(FlightRecorder& recorder, const FlightRecord& record) : recorder_(recorder), record_(record) {}
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;
  ~Recorded() { recorder_.end(record_); }

 private:
  FlightRecorder& recorder_;
  const FlightRecord& record_;
};

class WatchedRequest final : public Request {
 public:
  /// `on_done` may be empty.
  WatchedRequest(std::unique_ptr<Request> inner, FlightRecorder& recorder, const FlightRecord& record,
                 std::function<void()> on_done)
      : inner_(std::move(inner)), recorder_(recorder), record_(record), on_done_(std::move(on_done)) {}
  WatchedRequest(const WatchedRequest&) = delete;
  WatchedRequest& operator=(const WatchedRequest&) = delete;
  ~WatchedRequest() override {
    if (done_) return;
    recorder_.block(record_);
    inner_.reset();
    end();
  }
  void wait() override {
    if (test()) return;
    recorder_.block(record_);
    const Recorded recorded(recorder_, record_);
    inner_->wait();
    done_ = true;
    if (on_done_) on_done_();
  }
  bool test() override {
    if (done_) return true;
    done_ = inner_->test();
    if (done_) end();
    return done_;
  }

 private:
  void end() {
    recorder_.end(record_);
    if (on_done_) on_done_();
  }

  std::unique_ptr<Request> inner_;
  FlightRecorder& recorder_;
  FlightRecord record_;
  std::function<void()> on_done_;
  bool done_ = false;
};

}  // namespace

WatchedCommunicator::WatchedCommunicator(Communicator& world, FlightRecorder& recorder, bool agree)
    : inner_(world), recorder_(recorder), members_(counted(world.size())), id_(1) {
  place_ = recorder_.add_group(id_, size());
  if (agree) own_agreement_ = std::make_unique<Agreement>(Agreement{inner_});
  agreement_ = own_agreement_.get();
}

WatchedCommunicator::WatchedCommunicator(std::unique_ptr<Communicator> part, WatchedCommunicator& parent,
                                         std::uint64_t splits)
    : owned_(std::move(part)),
      inner_(*owned_),
      recorder_(parent.recorder_),
      members_(members_of(inner_, parent.world_rank(parent.rank()))),
      id_(mix(mix(parent.id_, splits), static_cast<std::uint64_t>(members_.front()))) {
  place_ = recorder_.add_group(id_, size());
  if (parent.agreement_ == nullptr) return;
  if (size() != parent.size()) own_agreement_ = std::make_unique<Agreement>(Agreement{inner_});
  agreement_ = own_agreement_ ? own_agreement_.get() : parent.agreement_;
}

WatchedCommunicator::~WatchedCommunicator() { recorder_.drop_group(place_); }

template <typename Body>
auto WatchedCommunicator::collective(FlightRecord record, const Body& body) {
  record.group = id_;
  record.sequence = ++sequence_;
  record.step = recorder_.step();
  if (agreement_ != nullptr) record.digest = digest_of(agreement_->digest, record);
  recorder_.post(record, true);
  recorder_.enter_collective(place_, sequence_);
  const Recorded recorded(recorder_, record);
  agree(record);
  return body();
}

// Equal on all workers exactly where the least digest is the greatest: min(h) = ~min(~h).
void WatchedCommunicator::agree(FlightRecord& record) {
  if (agreement_ == nullptr) return;
  agreement_->digest = record.digest;
  if (size() == 1) return;
  const auto digest = static_cast<std::int64_t>(record.digest);
  std::array<std::int64_t, 2> least = {digest, ~digest};
  agreement_->channel.all_reduce(least, Reduction::kMin);
  if (least[0] != ~least[1]) report_disagreement(record);
}

void WatchedCommunicator::report_disagreement(const FlightRecord& mine) const {
  std::vector<FlightRecord> records;
  for (const auto& bytes : agreement_->channel.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&records.emplace_back(), bytes.data(), sizeof(FlightRecord));
  }
  throw Error(disagreement(records, members_), ExitCode::kDesync);
}

void WatchedCommunicator::barrier() {
  collective({.call = FlightCall::kBarrier}, [&] {
    if (agreement_ == nullptr) inner_.barrier();  // else they have just met
  });
}

void WatchedCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  collective({.count = std::ssize(bytes), .call = FlightCall::kBroadcast, .partner = world_rank(root)},
             [&] { inner_.broadcast(bytes, root); });
}

void WatchedCommunicator::all_reduce(std::span<std::int64_t> values, Reduction reduction) {
  collective({.count = std::ssize(values), .call = FlightCall::kAllReduce, .reduction = reduction},
             [&] { inner_.all_reduce(values, reduction); });
}

void WatchedCommunicator::all_reduce_disjoint(std::span<double> values) {
  collective({.count = std::ssize(values), .call = FlightCall::kAllReduceDisjoint},
             [&] { inner_.all_reduce_disjoint(values); });
}

std::vector<std::vector<std::byte>> WatchedCommunicator::all_gather(std::span<const std::byte> mine) {
  return collective({.count = std::ssize(mine), .call = FlightCall::kAllGather},
                    [&] { return inner_.all_gather(mine); });
}

FlightRecord WatchedCommunicator::message(FlightCall call, std::size_t bytes, int partner, int tag) const {
  FlightRecord record{.group = id_, .count = static_cast<std::int64_t>(bytes), .call = call};
  record.partner = world_rank(partner);
  record.tag = tag;
  recorder_.post(record, false);
  return record;
}

std::unique_ptr<Request> WatchedCommunicator::send(std::span<const std::byte> bytes, int to, int tag) {
  const FlightRecord record = message(FlightCall::kSend, bytes.size(), to, tag);
  return std::make_unique<WatchedRequest>(inner_.send(bytes, to, tag), recorder_, record, nullptr);
}

// Who waits does not wait for what anyone may send.
std::unique_ptr<Request> WatchedCommunicator::receive(std::span<std::byte> bytes, int from, int tag) {
  const FlightRecord record = message(FlightCall::kReceive, bytes.size(), from, tag);
  if (from != kAnyone) {
    const std::lock_guard lock(messages_);
    coming_.emplace(record.number, record);
  }
  return std::make_unique<WatchedRequest>(inner_.receive(bytes, from, tag), recorder_, record,
                                          [this, number = record.number] { received(number); });
}

void WatchedCommunicator::begin_wait() {
  const std::lock_guard lock(messages_);
  wait_for_oldest();
}

void WatchedCommunicator::end_wait() {
  const std::lock_guard lock(messages_);
  if (wait_) recorder_.end(*wait_);
  wait_.reset();
}

void WatchedCommunicator::wait_for_oldest() {
  wait_ = coming_.empty() ? FlightRecord{.group = id_, .call = FlightCall::kMessages} : coming_.begin()->second;
  awaited_ = wait_->number;
  recorder_.post(*wait_, true);
}

// What was waited for is here: the worker now waits for the next one, and has not waited for that before.
void WatchedCommunicator::received(std::uint64_t number) {
  const std::lock_guard lock(messages_);
  coming_.erase(number);
  if (!wait_ || number != awaited_) return;
  recorder_.end(*wait_);
  wait_for_oldest();
}

std::unique_ptr<Communicator> WatchedCommunicator::split(int colour) {
  return collective({.call = FlightCall::kSplit}, [&]() -> std::unique_ptr<Communicator> {
    return std::unique_ptr<Communicator>(new WatchedCommunicator(inner_.split(colour), *this, ++splits_));
  });
}

std::unique_ptr<Communicator> WatchedCommunicator::split_by_node() {
  return collective({.call = FlightCall::kSplitByNode}, [&]() -> std::unique_ptr<Communicator> {
    return std::unique_ptr<Communicator>(new WatchedCommunicator(inner_.split_by_node(), *this, ++splits_));
  });
}

std::unique_ptr<SharedSegments> WatchedCommunicator::share(std::int64_t bytes, Filling filling) {
  return collective({.count = bytes, .call = FlightCall::kShare}, [&] { return inner_.share(bytes, filling); });
}

}  // namespace ballast
