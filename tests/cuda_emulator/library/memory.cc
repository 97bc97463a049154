#include "memory.h"

#include <sys/mman.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>

#include "cuda_emulator/execution.h"
#include "sanitizers.h"

namespace cuda_emulator {
namespace {

constexpr std::size_t kPage = 4096, kHugePage = std::size_t{2} << 20, kAlignment = 256, kFreedMappings = 4096;

std::map<char*, Allocation> allocations;
std::map<char*, Allocation> freed;  // still mapped, without access
std::deque<char*> freed_order;      // the oldest leaves first
std::size_t device_bytes = 0;
bool device_open = false;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

std::map<char*, Allocation>::iterator at_or_before(std::map<char*, Allocation>& map, char* pointer) {
  auto next = map.upper_bound(pointer);
  return next == map.begin() ? map.end() : std::prev(next);
}

void set_access(const Allocation& allocation, int protection) {
  mprotect(allocation.mapping, allocation.mapping_bytes - kPage, protection);
}

void set_device_access(int protection) {
  for (const auto& [start, allocation] : allocations) {
    if (allocation.kind == MemoryKind::kDevice) set_access(allocation, protection);
  }
}

const char* what_is_not_ours(char* address) {
  const auto old = at_or_before(freed, address);
  const bool was_freed = old != freed.end() && address < old->first + old->second.bytes;
  return was_freed ? "freed memory" : "neither device nor pinned memory";
}

// Says what an address that faulted was, when it was ours; returns when it was not.
void explain_fault(char* address) {
  if (const auto old = at_or_before(freed, address);
      old != freed.end() && address < old->second.mapping + old->second.mapping_bytes) {
    fail("access to freed memory %p, %td bytes into what were %zu bytes", static_cast<void*>(address),
         address - old->first, old->second.bytes);
  }
  const auto found = at_or_before(allocations, address);
  if (found == allocations.end()) return;
  const auto& [start, allocation] = *found;
  if (address >= allocation.mapping + allocation.mapping_bytes) return;
  if (static_cast<std::size_t>(address - start) < allocation.bytes) {
    fail("host code touches device memory %p, %td bytes into %zu bytes", static_cast<void*>(address), address - start,
         allocation.bytes);
  }
  fail("access at %p, %td bytes past the end of %zu bytes", static_cast<void*>(address),
       address - start - static_cast<std::ptrdiff_t>(allocation.bytes), allocation.bytes);
}

struct sigaction previous_action[NSIG];

void on_fault(int signal, siginfo_t* info, void*) {
  explain_fault(static_cast<char*>(info->si_addr));
  sigaction(signal, &previous_action[signal], nullptr);  // not ours: the instruction faults again, for them
}

void catch_faults() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS}) sigaction(signal, &action, &previous_action[signal]);
}

void forget_oldest() {
  char* oldest = freed_order.front();
  freed_order.pop_front();
  const auto found = freed.find(oldest);
  munmap(found->second.mapping, found->second.mapping_bytes);
  freed.erase(found);
}

// Under ASan the bytes around the allocation are forbidden too, to the byte.
void poison_surroundings(char* start, const Allocation& allocation) {
  if (!under_asan()) return;
  char* end = allocation.mapping + allocation.mapping_bytes - kPage;
  __asan_poison_memory_region(allocation.mapping, start - allocation.mapping);
  __asan_poison_memory_region(start + allocation.bytes, end - start - allocation.bytes);
}

}  // namespace

std::size_t device_bytes_in_use() { return device_bytes; }

void* allocate(std::size_t bytes, MemoryKind kind) {
  static const bool faults_caught = (catch_faults(), true);
  (void)faults_caught;
  const std::size_t user = round_up(bytes, kAlignment), body = round_up(user, kPage);
  void* mapping = mmap(nullptr, body + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  const Allocation allocation{bytes, kind, static_cast<char*>(mapping), body + kPage};
  mprotect(allocation.mapping + body, kPage, PROT_NONE);
  char* start = allocation.mapping + body - user;
  if (kind == MemoryKind::kDevice) {
    // Access to device memory changes with every launch: that takes time for each page.
    if (body >= kHugePage) madvise(mapping, body, MADV_HUGEPAGE);
    std::memset(start, 0xff, user);
  }
  poison_surroundings(start, allocation);
  if (kind == MemoryKind::kDevice) {
    device_bytes += bytes;
    if (!device_open) set_access(allocation, PROT_NONE);
  }
  allocations.emplace(start, allocation);
  return start;
}

bool deallocate(void* memory, MemoryKind kind) {
  const auto found = allocations.find(static_cast<char*>(memory));
  if (found == allocations.end() || found->second.kind != kind) return false;
  const Allocation allocation = found->second;
  allocations.erase(found);
  if (kind == MemoryKind::kDevice) device_bytes -= allocation.bytes;
  if (under_asan()) __asan_unpoison_memory_region(allocation.mapping, allocation.mapping_bytes);
  madvise(allocation.mapping, allocation.mapping_bytes, MADV_DONTNEED);
  set_access(allocation, PROT_NONE);
  freed.emplace(static_cast<char*>(memory), allocation);
  freed_order.push_back(static_cast<char*>(memory));
  if (freed_order.size() > kFreedMappings) forget_oldest();
  return true;
}

Allocation* find_allocation(const volatile void* pointer) {
  auto* address = static_cast<char*>(const_cast<void*>(pointer));
  const auto found = at_or_before(allocations, address);
  if (found == allocations.end() || address >= found->first + found->second.bytes) return nullptr;
  return &found->second;
}

void check_range(const void* pointer, std::size_t bytes, const char* who, Access access) {
  if (bytes == 0) return;
  auto* address = static_cast<char*>(const_cast<void*>(pointer));
  const auto found = at_or_before(allocations, address);
  if (found == allocations.end() || address >= found->first + found->second.bytes) {
    fail("%s: %p is %s", who, pointer, what_is_not_ours(address));
  }
  const char* end = found->first + found->second.bytes;
  if (address + bytes > end) {
    fail("%s: %zu bytes at %p run %td bytes past the end of %zu bytes", who, bytes, pointer, address + bytes - end,
         found->second.bytes);
  }
  if (under_tsan()) (access == Access::kWrite ? __tsan_write_range : __tsan_read_range)(address, bytes);
}

void check_argument(const volatile void* pointer, int argument) {
  if (pointer == nullptr) return;
  auto* address = static_cast<char*>(const_cast<void*>(pointer));
  const auto found = at_or_before(allocations, address);
  // One past the end is the address of nothing, as of an empty tensor at the end of a buffer.
  if (found != allocations.end() && address <= found->first + found->second.bytes) return;
  fail("kernel argument %d (%p) is %s", argument, static_cast<void*>(address), what_is_not_ours(address));
}

void open_device_memory() {
  if (device_open) return;
  device_open = true;
  set_device_access(PROT_READ | PROT_WRITE);
}

void close_device_memory() {
  if (!device_open) return;
  device_open = false;
  set_device_access(PROT_NONE);
}

}  // namespace cuda_emulator
