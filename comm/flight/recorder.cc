#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>

#include "comm/flight_recorder.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::int64_t kFileBytes =
    kFlightHeaderBytes + kFlightRecords * static_cast<std::int64_t>(sizeof(FlightRecord));
constexpr std::size_t kWords = sizeof(FlightRecord) / sizeof(std::uint64_t);

std::int64_t now_on(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The watchdog's thread and other processes read what the worker writes.
template <typename T>
void put(T& place, T value) {
  std::atomic_ref(place).store(value, std::memory_order_relaxed);
}

void put_text(std::array<char, 16>& place, const std::array<char, 16>& text) {
  const auto from = std::bit_cast<std::array<std::uint64_t, 2>>(text);
  auto* words = reinterpret_cast<std::uint64_t*>(place.data());
  put(words[0], from[0]);
  put(words[1], from[1]);
}

}  // namespace

std::int64_t monotonic_ns() { return now_on(CLOCK_MONOTONIC); }

FlightRecorder::FlightRecorder(const FlightRecorderOptions& options) {
  if (!options.path.empty()) open(options.path);
  if (file_ < 0) {
    file_ = memfd_create("ballast-flight", MFD_CLOEXEC);
    if (file_ < 0 || ftruncate(file_, kFileBytes) != 0) throw Error("cannot make memory for the flight recorder");
  }
  memory_ = mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  if (memory_ == MAP_FAILED) {
    close(file_);
    throw Error("cannot map the memory of the flight recorder");
  }
  describe_worker(options);
}

FlightRecorder::~FlightRecorder() {
  munmap(memory_, kFileBytes);
  close(file_);
}

// Only who holds the lock may empty the file: to truncate what another process has mapped would end that with SIGBUS.
void FlightRecorder::open(const std::string& path) {
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  int error = file_ < 0 || flock(file_, LOCK_EX | LOCK_NB) != 0 || ftruncate(file_, 0) != 0 ? errno : 0;
  if (error == 0) error = posix_fallocate(file_, 0, kFileBytes);
  if (error == EOPNOTSUPP || error == EINVAL) error = ftruncate(file_, kFileBytes) == 0 ? 0 : errno;
  if (error == 0) return;
  problem_ = path + ": cannot be written: " + std::strerror(error);
  if (file_ >= 0) close(file_);
  file_ = -1;
}

void FlightRecorder::describe_worker(const FlightRecorderOptions& options) {
  FlightHeader facts;
  facts.magic = {'B', 'A', 'L', 'F', 'L', 'I', 'G', 'H'};
  facts.version = 1;
  facts.job = options.job;
  facts.rank = options.rank;
  facts.workers = options.workers;
  facts.process = getpid();
  if (gethostname(facts.host.data(), facts.host.size() - 1) != 0) facts.host[0] = '\0';
  facts.anchor_ns = facts.alive_ns = facts.progress_ns = monotonic_ns();
  facts.wall_anchor_ns = now_on(CLOCK_REALTIME);
  std::memcpy(memory_, &facts, sizeof(facts));
}

void FlightRecorder::enter(std::string_view phase) {
  const std::lock_guard lock(mutex_);
  phase_ = {};
  std::copy_n(phase.begin(), std::min(phase.size(), phase_.size() - 1), phase_.begin());
  put_text(header().phase, phase_);
  put(header().progress_ns, monotonic_ns());
}

std::int64_t FlightRecorder::step() const {
  const std::lock_guard lock(mutex_);
  return step_;
}

void FlightRecorder::allow(std::uint16_t patience) {
  const std::lock_guard lock(mutex_);
  patience_ = patience;
}

void FlightRecorder::begin_step(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
  put(header().step, step);
}

std::span<std::uint64_t> FlightRecorder::words_of(std::uint64_t number) const {
  auto* ring = reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(memory_) + kFlightHeaderBytes);
  return {ring + (number - 1) % kFlightRecords * kWords, kWords};
}

bool FlightRecorder::holds(std::uint64_t number) const { return number + kFlightRecords > number_; }

// A reader that meets a half-written record sees number 0, or one that does not belong to the place.
void FlightRecorder::store(const FlightRecord& record) {
  const auto from = std::bit_cast<std::array<std::uint64_t, kWords>>(record);
  const auto to = words_of(record.number);
  std::atomic_ref(to[0]).store(0, std::memory_order_relaxed);
  for (std::size_t i = 1; i < kWords; ++i) std::atomic_ref(to[i]).store(from[i], std::memory_order_release);
  std::atomic_ref(to[0]).store(from[0], std::memory_order_release);
}

void FlightRecorder::post(FlightRecord& record, bool blocks) {
  const std::lock_guard lock(mutex_);
  post_locked(record, blocks);
}

void FlightRecorder::post_locked(FlightRecord& record, bool blocks) {
  record.number = ++number_;
  record.step = step_;
  record.phase = phase_;
  record.patience = patience_;
  record.posted_ns = monotonic_ns();
  record.blocked_ns = blocks ? record.posted_ns : 0;
  store(record);
  put(header().records, number_);
  put(header().progress_ns, record.posted_ns);
  if (blocks) put(header().blocked, number_);
}

void FlightRecorder::block(FlightRecord& record) {
  const std::lock_guard lock(mutex_);
  if (!holds(record.number)) return post_locked(record, true);
  record.phase = phase_;
  record.patience = patience_;
  record.blocked_ns = monotonic_ns();
  store(record);
  put(header().blocked, record.number);
}

void FlightRecorder::end(const FlightRecord& record) {
  const std::lock_guard lock(mutex_);
  const std::int64_t now = monotonic_ns();
  constexpr std::size_t kDoneWord = offsetof(FlightRecord, done_ns) / sizeof(std::uint64_t);
  if (holds(record.number)) put(words_of(record.number)[kDoneWord], static_cast<std::uint64_t>(now));
  put(header().progress_ns, now);
  if (record.blocked_ns == 0) return;
  put(header().blocked, std::uint64_t{0});
  waited_ns_ += now - record.blocked_ns;
  put(header().waited_ns, waited_ns_);
}

int FlightRecorder::add_group(std::uint64_t id, int size) {
  for (int place = 0; place < kFlightGroups; ++place) {
    FlightGroup& group = header().groups[static_cast<std::size_t>(place)];
    if (std::atomic_ref(group.id).load(std::memory_order_relaxed) != 0) continue;
    put(group.size, static_cast<std::uint64_t>(size));
    put(group.entered, std::uint64_t{0});
    put(group.id, id);
    return place;
  }
  return -1;
}

void FlightRecorder::enter_collective(int place, std::uint64_t sequence) {
  if (place >= 0) put(header().groups[static_cast<std::size_t>(place)].entered, sequence);
}

void FlightRecorder::drop_group(int place) {
  if (place >= 0) put(header().groups[static_cast<std::size_t>(place)].id, std::uint64_t{0});
}

void FlightRecorder::tell_alive() { put(header().alive_ns, monotonic_ns()); }

void FlightRecorder::flush_header() const { static_cast<void>(msync(memory_, kFlightHeaderBytes, MS_SYNC)); }

void FlightRecorder::flush() const { static_cast<void>(msync(memory_, kFileBytes, MS_SYNC)); }

}  // namespace ballast
