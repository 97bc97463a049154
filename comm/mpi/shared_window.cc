#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "comm/mpi/check.h"
#include "comm/mpi/shared_segments.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::uintptr_t kPage = 4096;
constexpr std::size_t kCleared = std::size_t{64} << 20;  ///< at a time

class WindowSegments final : public SharedSegments {
 public:
  WindowSegments(MPI_Win window, std::vector<std::span<std::byte>> segments)
      : window_(window), segments_(std::move(segments)) {}
  WindowSegments(const WindowSegments&) = delete;
  WindowSegments& operator=(const WindowSegments&) = delete;
  ~WindowSegments() override {
    if (std::uncaught_exceptions() == exceptions_) MPI_Win_free(&window_);  // collective: never while unwinding
  }
  [[nodiscard]] std::span<std::byte> of(int rank) const override { return segments_[static_cast<std::size_t>(rank)]; }
  void discard(std::span<std::byte> part) override { discard_pages(part); }

 private:
  MPI_Win window_;
  std::vector<std::span<std::byte>> segments_;
  int exceptions_ = std::uncaught_exceptions();
};

/// Where worker `rank`'s memory starts in my address space. MPI aligns it to nothing in particular; the window's pages
/// are the same everywhere, so every worker finds the same first page boundary.
std::byte* aligned_start(MPI_Win window, int rank) {
  MPI_Aint size = 0;
  int unit = 0;
  void* start = nullptr;
  check_mpi(MPI_Win_shared_query(window, rank, &size, &unit, static_cast<void*>(&start)));
  const std::uintptr_t past_page = reinterpret_cast<std::uintptr_t>(start) % kPage;
  return static_cast<std::byte*>(start) + (past_page == 0 ? 0 : kPage - past_page);
}

}  // namespace

std::unique_ptr<SharedSegments> share_by_window(Communicator& node, MPI_Comm group, std::int64_t bytes, Filling filling,
                                                const std::string& cause) {
  void* start = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  const int code = MPI_Win_allocate_shared(bytes + static_cast<MPI_Aint>(kPage), 1, MPI_INFO_NULL, group,
                                           static_cast<void*>(&start), &window);
  if (code != MPI_SUCCESS) {
    throw Error("the workers of this node cannot share memory: " + cause +
                    "; and MPI's own shared memory failed too (is " +
                    "/dev/shm full?). Give the workers one container and one user, or set comm.share_memory = false",
                ExitCode::kIo);
  }
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(node.size()));
  sizes[static_cast<std::size_t>(node.rank())] = bytes;
  node.all_reduce(sizes, Reduction::kSum);
  std::vector<std::span<std::byte>> segments;
  segments.reserve(sizes.size());
  for (int r = 0; r < node.size(); ++r) {
    segments.emplace_back(aligned_start(window, r), static_cast<std::size_t>(sizes[static_cast<std::size_t>(r)]));
  }
  auto shared = std::make_unique<WindowSegments>(window, std::move(segments));
  const std::span<std::byte> mine = shared->of(node.rank());
  for (std::size_t first = 0; first < mine.size(); first += kCleared) {
    const std::span<std::byte> part = mine.subspan(first, std::min(kCleared, mine.size() - first));
    std::memset(part.data(), 0, part.size());
    if (filling == Filling::kSparse) discard_pages(part);
  }
  node.barrier();
  return shared;
}

}  // namespace ballast
