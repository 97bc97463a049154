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

/// One lane's part in one warp operation: deposits its value, waits for all lanes of the mask, then reads theirs.
class WarpExchange {
 public:
  static constexpr std::size_t kDepositBytes = 32;

  WarpExchange(WarpOperation operation, std::uint32_t mask, const void* deposit, std::size_t bytes, Site site);
  ~WarpExchange();
  WarpExchange(const WarpExchange&) = delete;
  WarpExchange& operator=(const WarpExchange&) = delete;

  [[nodiscard]] int lane() const { return lane_; }
  [[nodiscard]] std::uint32_t arrived() const { return arrived_; }

  /// What `source` deposited; an error when that lane takes no part.
  template <class T>
  [[nodiscard]] T from(int source) const {
    static_assert(sizeof(T) <= kDepositBytes && std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, deposit_of(source), sizeof(T));
    return value;
  }

 private:
  [[nodiscard]] const void* deposit_of(int source) const;

  WarpMeeting* meeting_;
  std::uint32_t arrived_;
  int lane_;
  Site site_;
};

/// The block's object for `tag`, made at first use and filled with 0xff bytes: floats are NaN until they are written.
void* shared_object(const void* tag, std::size_t bytes, std::size_t alignment);
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
