// Streams: queues of work that run as late, as early or in as random an interleaving as CUDA allows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "block.h"

namespace cuda_emulator {

struct Capture;

/// What work is as the node of a graph; copies differ by whether they begin and end on the device.
enum class Node { kKernel, kCopyIn, kCopyOut, kCopyOnDevice, kCopyOnHost, kMemset, kHostFunction };

/// One unit of work of a stream.
struct Work {
  const char* what = "";
  std::function<void(CUstream_st&)> run;  // may be empty: the work only waits
  Node node = Node::kKernel;
  std::function<void(CUstream_st&)>
      at_launch;                 // of captured work: when a graph that holds it is launched; may be empty
  CUstream_st* after = nullptr;  // waits until `after` has done its work number `after_number`
  std::uint64_t after_number = 0;
  std::shared_ptr<char> after_clock;
  /// Blocks until other ranks come, so it runs only where every rank of a program runs it, and on the thread that
  /// issued it: MPI knows one thread.
  bool collective = false;
  bool early = false;  // a collective that runs where it is issued, if streams run by chance
  std::thread::id issuer;
  char issued = 0;  // TSan: the work sees what the host did before it issued it
};

/// What an event holds: a place in a stream, or in a capture.
struct EventRecord {
  CUstream_st* stream = nullptr;
  std::uint64_t number = 0;
  std::shared_ptr<char> clock;  // a new one for every record
  Capture* capture = nullptr;
  int captured_event = 0;
};

/// Held by every call of the API; closes the device memory when the call returns to the host.
class Lock {
 public:
  Lock();
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
};

// All of these run under the Lock.
CUstream_st& stream_of(cudaStream_t stream);  // null and cudaStreamLegacy: the default stream
CUstream_st& create_stream(bool blocking);
void destroy_stream(CUstream_st& stream);

/// Queues the work, or captures it; then, by chance, runs some work of some streams.
void push(CUstream_st& stream, Work work);
EventRecord record_event(CUstream_st& stream);
void wait_for(CUstream_st& stream, const EventRecord& event);

/// Runs the stream up to its work of that number.
void run_until(CUstream_st& stream, std::uint64_t number);
/// The host waits: what the stream did happens before what the host does next. By chance other streams run ahead.
void synchronize(CUstream_st& stream);
void synchronize(const EventRecord& event);
void synchronize_all();
/// Whether the work is done; if not, some of it is run.
bool poll(CUstream_st& stream, std::uint64_t number);

}  // namespace cuda_emulator

struct CUstream_st {
  std::deque<std::unique_ptr<cuda_emulator::Work>> queue;
  std::uint64_t issued = 0, done = 0;
  bool blocking = true;  // waits for the default stream and is waited for by it
  cuda_emulator::TsanFiber tsan;
  char clock = 0;
  cuda_emulator::FiberPool fibers;
  cuda_emulator::Capture* capture = nullptr;
  int lane = 0;  // which stream of the capture it is
};

struct CUevent_st {
  cuda_emulator::EventRecord record;
};
