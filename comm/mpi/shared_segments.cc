#include "comm/mpi/shared_segments.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::int64_t kPage = 4096;

std::int64_t to_pages(std::int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::string errno_text() { return std::strerror(errno); }

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

class Mapping {
 public:
  Mapping() = default;
  Mapping(void* start, std::int64_t bytes, Filling filling)
      : start_(start == MAP_FAILED ? nullptr : start), bytes_(bytes) {
    // Huge pages halve the TLB misses of a matmul that reads weights here, and would keep whole what is given back in
    // parts. The kernel may say no: nothing depends on it.
    const int advice = filling == Filling::kWhole ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
    if (start_ != nullptr) madvise(start_, static_cast<std::size_t>(bytes_), advice);
  }
  Mapping(Mapping&& other) noexcept : start_(std::exchange(other.start_, nullptr)), bytes_(other.bytes_) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (start_ != nullptr) munmap(start_, static_cast<std::size_t>(bytes_));
  }
  [[nodiscard]] bool failed() const { return start_ == nullptr; }
  [[nodiscard]] std::byte* start() const { return static_cast<std::byte*>(start_); }
  [[nodiscard]] std::span<std::byte> bytes(std::int64_t count) const {
    return {start(), static_cast<std::size_t>(count)};
  }

 private:
  void* start_ = nullptr;
  std::int64_t bytes_ = 0;
};

Mapping map_shared(int descriptor, std::int64_t bytes, Filling filling) {
  return {mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), bytes,
          filling};
}

class MappedSegments final : public SharedSegments {
 public:
  void add(Mapping mapping, std::int64_t bytes) {
    mappings_.push_back(std::move(mapping));
    bytes_.push_back(bytes);
  }
  [[nodiscard]] std::span<std::byte> of(int rank) const override {
    const auto r = static_cast<std::size_t>(rank);
    return mappings_[r].bytes(bytes_[r]);
  }
  void discard(std::span<std::byte> part) override { discard_pages(part); }

 private:
  std::vector<Mapping> mappings_;
  std::vector<std::int64_t> bytes_;
};

/// What a worker tells its neighbours. The nonce also stands in the first bytes of its memory: in another pid namespace
/// the same pid and number may be somebody else's file.
struct Offer {
  std::int64_t pid = 0, descriptor = -1, bytes = 0;
  std::uint64_t nonce = 0;
  [[nodiscard]] std::int64_t mapped_bytes() const { return to_pages(std::max<std::int64_t>(bytes, 1)); }
};

std::uint64_t fresh_nonce() {
  std::random_device entropy;  // never reaches a result: it only has to differ between processes
  return (std::uint64_t{entropy()} << 32) | entropy() | 1U;
}

std::vector<Offer> exchange(Communicator& node, const Offer& mine) {
  std::vector<Offer> offers;
  for (const auto& bytes : node.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    std::memcpy(&offers.emplace_back(), bytes.data(), sizeof(Offer));
  }
  return offers;
}

/// The neighbour's memory, or nothing and the cause.
Mapping map_neighbour(const Offer& offer, Filling filling, std::string& cause) {
  const std::string path = "/proc/" + std::to_string(offer.pid) + "/fd/" + std::to_string(offer.descriptor);
  const Descriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat facts {};
  if (file.number() < 0 || fstat(file.number(), &facts) != 0) {
    cause = "cannot open " + path + ": " + errno_text();
    return {};
  }
  if (facts.st_size != offer.mapped_bytes()) {
    cause = path + " is not the neighbour's memory (are the workers in different containers?)";
    return {};
  }
  Mapping mapping = map_shared(file.number(), offer.mapped_bytes(), filling);
  if (mapping.failed()) {
    cause = "cannot map " + path + ": " + errno_text();
  } else if (std::memcmp(mapping.start(), &offer.nonce, sizeof(offer.nonce)) != 0) {
    cause = path + " is not the neighbour's memory (are the workers in different containers?)";
  }
  return mapping;
}

/// Makes my memory, with the nonce in its first bytes, and the offer of it. An offer without a descriptor says that it
/// failed.
Offer make_offer(const Descriptor& file, std::int64_t bytes, std::string& cause) {
  const Offer offer{getpid(), file.number(), bytes, fresh_nonce()};
  if (file.number() < 0 || ftruncate(file.number(), offer.mapped_bytes()) != 0) {
    cause = "cannot make anonymous memory: " + errno_text();
    return {};
  }
  if (pwrite(file.number(), &offer.nonce, sizeof(offer.nonce), 0) != sizeof(offer.nonce)) {
    cause = "cannot write to anonymous memory: " + errno_text();
    return {};
  }
  return offer;
}

/// The first worker's cause that is not empty: the same text on every worker.
std::string agreed_cause(Communicator& node, const std::string& mine) {
  for (const std::string& cause : all_gather_strings(node, mine)) {
    if (!cause.empty()) return cause;
  }
  return {};
}

}  // namespace

void discard_pages(std::span<std::byte> part) {
  void* start = part.data();
  std::size_t space = part.size();
  if (std::align(kPage, kPage, start, space) == nullptr) return;
  const std::size_t bytes = space / kPage * kPage;
  if (madvise(start, bytes, MADV_REMOVE) == 0) return;
  madvise(start, bytes, MADV_DONTNEED);  // private memory. Where the system refuses both, the memory is kept
}

std::unique_ptr<SharedSegments> share_with_nobody(std::int64_t bytes, Filling filling) {
  const std::int64_t size = to_pages(std::max<std::int64_t>(bytes, 1));
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (filling == Filling::kSparse ? MAP_NORESERVE : 0);
  Mapping mapping(mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, flags, -1, 0), size, filling);
  if (mapping.failed()) throw Error("cannot get " + std::to_string(size) + " bytes of memory: " + errno_text());
  auto segments = std::make_unique<MappedSegments>();
  segments->add(std::move(mapping), bytes);
  return segments;
}

std::unique_ptr<SharedSegments> share_by_descriptor(Communicator& node, std::int64_t bytes, Filling filling,
                                                    std::string& cause) {
  const Descriptor file(memfd_create("ballast", MFD_CLOEXEC));
  const Offer mine = make_offer(file, bytes, cause);
  auto segments = std::make_unique<MappedSegments>();
  for (const Offer& offer : exchange(node, mine)) {
    Mapping mapping = offer.descriptor < 0 ? Mapping() : map_neighbour(offer, filling, cause);
    segments->add(std::move(mapping), offer.bytes);
  }
  cause = agreed_cause(node, cause);
  if (!cause.empty()) return nullptr;
  std::memset(segments->of(node.rank()).data(), 0, sizeof(mine.nonce));
  node.barrier();  // everybody has read the nonces and cleared its own
  return segments;
}

}  // namespace ballast
