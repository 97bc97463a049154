// What a kernel compiled for the emulator calls: barriers, warp operations, shared memory, asynchronous copies, the
// launch. Every call carries its place in the source, so that a report names the line and threads at different lines
// are told apart.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <vector>

namespace cuda_emulator {

/// A place in the source. Not std::source_location: clang 14 reads these headers too.
struct Site {
  const char* file;
  unsigned line;
  static constexpr Site current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

/// Prints why, with the kernel, block and thread that run, and ends the process with exit code 86.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// Waits for every thread of the block that has not exited; returns how many of them came with predicate != 0.
int barrier(int predicate, Site site);

/// __threadfence. Orders all fences of a launch one after another, which is more than a device promises.
void fence();

enum class WarpOperation : std::uint8_t { kSync, kShuffle, kVote, kReduce, kMatrix };
struct WarpMeeting;  // lanes of one warp that execute one operation together

/// What a lane brings to a warp operation. Its size is fixed so that the library copies it without calling memcpy,
/// which a sanitizer would take for an access of the kernel.
using Deposit = std::array<std::uint64_t, 4>;

/// One lane's part in one warp operation: deposits its value, waits for all lanes of the mask, then reads theirs.
class WarpExchange {
 public:
  template <class T>
  WarpExchange(WarpOperation operation, std::uint32_t mask, const T& value, Site site) : site_(site) {
    static_assert(sizeof(T) <= sizeof(Deposit) && std::is_trivially_copyable_v<T>);
    Deposit deposit{};
    std::memcpy(&deposit, &value, sizeof(T));
    meet(operation, mask, deposit);
  }
  ~WarpExchange();
  WarpExchange(const WarpExchange&) = delete;
  WarpExchange& operator=(const WarpExchange&) = delete;

  [[nodiscard]] int lane() const { return lane_; }
  [[nodiscard]] std::uint32_t arrived() const { return arrived_; }

  /// What `source` deposited; an error when that lane takes no part.
  template <class T>
  [[nodiscard]] T from(int source) const {
    const Deposit deposit = deposit_of(source);
    T value;
    std::memcpy(&value, &deposit, sizeof(T));
    return value;
  }

 private:
  void meet(WarpOperation operation, std::uint32_t mask, const Deposit& deposit);
  [[nodiscard]] Deposit deposit_of(int source) const;

  WarpMeeting* meeting_ = nullptr;
  std::uint32_t arrived_ = 0;
  int lane_ = 0;
  Site site_;
};

/// The block's object for `tag`, made at first use and filled with 0xff bytes: floats are NaN until they are written.
inline constexpr std::size_t kSharedAlignment = 128;
void* shared_object(const void* tag, std::size_t bytes);
/// As many bytes as the launch asked for.
void* dynamic_shared_object();

/// A copy of 16 bytes from global to shared memory that was asked for and has not happened.
struct AsyncCopy {
  void* shared;
  const void* global;
};
void queue_async_copy(AsyncCopy copy);
void commit_async_copies();
/// Takes out the copies of all groups but the `unfinished` latest.
std::vector<AsyncCopy> finish_async_copies(int unfinished);

/// D (16x8) += A (16x16) B (16x8) of one warp, with the fragments of mma.sync.m16n8k16.
void multiply_fragments(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site);

/// Kernel arguments that are pointers must point to device or pinned memory.
void check_kernel_pointer(const volatile void* pointer, int argument);
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body);

}  // namespace cuda_emulator
