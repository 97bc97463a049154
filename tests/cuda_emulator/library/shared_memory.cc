// Shared memory of a block, and the asynchronous copies into it.
#include <cstdlib>
#include <cstring>

#include "block.h"

namespace cuda_emulator {
namespace {

constexpr std::size_t kStaticLimit = std::size_t{48} << 10;
constexpr std::size_t kCanaryBytes = 64;
constexpr unsigned char kCanary = 0xa5;

const char dynamic_tag = 0;

// ASan's own red zone begins at the last byte; without it a canary shows writes past the end.
std::size_t canary_bytes() { return under_asan() ? 0 : kCanaryBytes; }

// Dynamic memory counts too, unless the kernel can only have got it by asking for more than the limit.
void check_static_bytes(std::size_t bytes, std::size_t dynamic) {
  const std::size_t together = bytes + (dynamic <= kStaticLimit ? dynamic : 0);
  if (together > kStaticLimit) {
    fail("%zu bytes of static shared memory, %zu with the dynamic; the limit is %zu", bytes, bytes + dynamic,
         kStaticLimit);
  }
}

const TsanFiber& janitor() {
  static const TsanFiber* fiber = new TsanFiber;
  return *fiber;
}

}  // namespace

void* Block::shared_object(const void* tag, std::size_t bytes) {
  for (const SharedObject& object : shared_) {
    if (object.tag != tag) continue;
    acquire(object.memory);
    return object.memory;
  }
  void* memory = nullptr;
  {
    const Bookkeeping bookkeeping(*this);
    if (tag != &dynamic_tag) check_static_bytes(shared_bytes_ += bytes, dynamic_bytes());
    if (posix_memalign(&memory, kSharedAlignment, bytes + canary_bytes()) != 0) fail("no memory for shared memory");
    std::memset(memory, 0xff, bytes);
    std::memset(static_cast<char*>(memory) + bytes, kCanary, canary_bytes());
    shared_.push_back({tag, memory, bytes});
    release(memory);
  }
  acquire(memory);
  return memory;
}

// The janitor frees behind all threads of the launch, and orders nothing for the next block: who allocates is not the
// janitor.
void Block::end() {
  for (const SharedObject& object : shared_) {
    const auto* behind = static_cast<const unsigned char*>(object.memory) + object.bytes;
    for (std::size_t i = 0; i < canary_bytes(); ++i) {
      if (behind[i] != kCanary) fail("shared memory is written %zu bytes past its end (%zu bytes)", i, object.bytes);
    }
  }
  const OnTsanFiber on_janitor(janitor());
  acquire(&launch_clocks_->end);
  for (const SharedObject& object : shared_) std::free(object.memory);
  shared_.clear();
  shared_bytes_ = 0;
}

void* shared_object(const void* tag, std::size_t bytes) { return current_block()->shared_object(tag, bytes); }

void* dynamic_shared_object() {
  const std::size_t bytes = current_block()->dynamic_bytes();
  if (bytes == 0) fail("the kernel uses dynamic shared memory and was launched with none");
  return current_block()->shared_object(&dynamic_tag, bytes);
}

void queue_async_copy(AsyncCopy copy) {
  if (reinterpret_cast<std::uintptr_t>(copy.shared) % 16 != 0 ||
      reinterpret_cast<std::uintptr_t>(copy.global) % 16 != 0) {
    fail("asynchronous copy of 16 bytes from %p to %p: both must be 16-byte aligned", copy.global, copy.shared);
  }
  current_block()->thread().copies.push_back(copy);
}

void commit_async_copies() {
  Thread& thread = current_block()->thread();
  thread.copy_groups.push_back(thread.copies.size());
}

std::vector<AsyncCopy> finish_async_copies(int unfinished) {
  Thread& thread = current_block()->thread();
  const auto groups = static_cast<int>(thread.copy_groups.size());
  if (groups <= unfinished) return {};
  const auto finished = thread.copy_groups.begin() + (groups - unfinished);
  const std::size_t end = finished[-1];
  std::vector<AsyncCopy> copies(thread.copies.begin(), thread.copies.begin() + end);
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + end);
  thread.copy_groups.erase(thread.copy_groups.begin(), finished);
  for (std::size_t& group : thread.copy_groups) group -= end;
  return copies;
}

}  // namespace cuda_emulator
