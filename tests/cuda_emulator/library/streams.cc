#include "streams.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "capture.h"
#include "cuda_emulator/execution.h"
#include "memory.h"
#include "random.h"

namespace cuda_emulator {
namespace {

enum class Mode { kEager, kLazy, kRandom };

Mode mode() {
  static const Mode mode = [] {
    const char* text = std::getenv("CUDA_EMULATOR_STREAMS");
    const std::string_view name = text == nullptr ? "random" : text;
    if (name == "eager") return Mode::kEager;
    if (name == "lazy") return Mode::kLazy;
    if (name != "random") fail("CUDA_EMULATOR_STREAMS=%s: eager, lazy or random", text);
    return Mode::kRandom;
  }();
  return mode;
}

constexpr std::chrono::seconds kPatience{60};

// All state of the emulator is one process's device, so it is global, behind one lock.
std::mutex mutex;
std::condition_variable progress;

std::vector<CUstream_st*>& streams() {  // never destroyed: fibers and queues live until the process ends
  static auto* all = new std::vector<CUstream_st*>{new CUstream_st};
  return *all;
}
CUstream_st& default_stream() { return *streams().front(); }

struct LastCollective {
  CUstream_st* stream = nullptr;
  std::uint64_t number = 0;
} last_collective;

bool may_run_here(const Work& work) { return !work.collective || work.issuer == std::this_thread::get_id(); }

// The collective belongs to another thread, which runs it at its next synchronising call.
void let_issuer_run(const Work& work) {
  std::unique_lock<std::mutex> lock(mutex, std::adopt_lock);
  close_device_memory();
  if (progress.wait_for(lock, kPatience) == std::cv_status::timeout) {
    fail("%s: the thread that issued it makes no synchronising call, and this one waits for it", work.what);
  }
  lock.release();
}

void run_front(CUstream_st& stream) {
  const std::unique_ptr<Work> work = std::move(stream.queue.front());
  stream.queue.pop_front();
  set_current_work(work->what);
  if (work->run) open_device_memory();
  {
    const OnTsanFiber on_stream(stream.tsan);
    acquire(&work->issued);
    if (work->after_clock) acquire(work->after_clock.get());
    if (work->run) work->run(stream);
    work->run = nullptr;  // its captures go where they were last used
    release(&stream.clock);
  }
  set_current_work("host code");
  ++stream.done;
  progress.notify_all();
}

// Whether the next work of the stream can run with no collective before it.
bool free_to_run(const CUstream_st& stream, std::uint64_t number) {
  for (std::uint64_t at = stream.done; at < number; ++at) {
    const Work& work = *stream.queue[at - stream.done];
    if (work.collective) return false;
    if (work.after != nullptr && !free_to_run(*work.after, work.after_number)) return false;
  }
  return true;
}

void run_by_chance() {
  for (std::uint64_t n = random_below(3); n > 0; --n) {
    CUstream_st& stream = *streams()[random_below(streams().size())];
    if (stream.done < stream.issued && free_to_run(stream, stream.done + 1)) run_until(stream, stream.done + 1);
  }
}

void run_ahead() {
  if (mode() != Mode::kRandom) return;
  for (std::uint64_t n = random_below(8); n > 0; --n) run_by_chance();
}

// Ranks must not wait for each other at different places. So collectives run where they are issued, if all ranks agreed
// on that, or at the next synchronising call, and never by chance; on every rank in the order in which they were
// issued.
bool runs_at_issue(const Work& work) {
  return mode() == Mode::kEager || (mode() == Mode::kRandom && work.collective && work.early);
}

void order_collective(CUstream_st& stream, Work& work) {
  work.issuer = std::this_thread::get_id();
  if (last_collective.stream != nullptr && last_collective.stream != &stream) {
    work.after = last_collective.stream;
    work.after_number = last_collective.number;
  }
  last_collective = {&stream, stream.issued + 1};
}

}  // namespace

Lock::Lock() : lock_(mutex) {}
Lock::~Lock() { close_device_memory(); }

CUstream_st& stream_of(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy ? default_stream() : *stream;
}

CUstream_st& create_stream(bool blocking) {
  auto* stream = new CUstream_st;  // events may name it after it is destroyed
  stream->blocking = blocking;
  streams().push_back(stream);
  return *stream;
}

void destroy_stream(CUstream_st& stream) {
  run_until(stream, stream.issued);
  stream.fibers.retire();
  std::erase(streams(), &stream);
}

void push(CUstream_st& stream, Work work) {
  if (stream.capture != nullptr) return stream.capture->add(stream, std::move(work));
  const bool is_default = &stream == &default_stream();
  if (is_default) {
    for (CUstream_st* other : streams()) {
      if (other->blocking && other != &stream) synchronize(*other);
    }
  }
  if (work.collective) order_collective(stream, work);
  const bool at_once = is_default || runs_at_issue(work);
  auto queued = std::make_unique<Work>(std::move(work));
  release(&queued->issued);
  stream.queue.push_back(std::move(queued));
  ++stream.issued;
  if (is_default) {
    synchronize(stream);
  } else if (at_once) {
    run_until(stream, stream.issued);
  } else if (mode() == Mode::kRandom) {
    run_by_chance();
  }
}

EventRecord record_event(CUstream_st& stream) {
  if (stream.capture != nullptr) return stream.capture->record(stream);
  EventRecord event{.stream = &stream, .number = stream.issued + 1, .clock = std::make_shared<char>()};
  push(stream, {.what = "cudaEventRecord", .run = [clock = event.clock](CUstream_st&) { release(clock.get()); }});
  return event;
}

void wait_for(CUstream_st& stream, const EventRecord& event) {
  if (event.capture != nullptr) return event.capture->wait(stream, event);
  if (event.stream == nullptr) return;  // never recorded
  push(
      stream,
      {.what = "cudaStreamWaitEvent", .after = event.stream, .after_number = event.number, .after_clock = event.clock});
}

void run_until(CUstream_st& stream, std::uint64_t number) {
  while (stream.done < number) {
    const Work& next = *stream.queue.front();
    if (next.after != nullptr && next.after->done < next.after_number) {
      run_until(*next.after, next.after_number);  // another thread may run this stream meanwhile: look again
    } else if (!may_run_here(next)) {
      let_issuer_run(next);
    } else {
      run_front(stream);
    }
  }
}

void synchronize(CUstream_st& stream) {
  run_ahead();
  run_until(stream, stream.issued);
  acquire(&stream.clock);
}

void synchronize(const EventRecord& event) {
  run_ahead();
  run_until(*event.stream, event.number);
  acquire(event.clock.get());
}

void synchronize_all() {
  while (true) {
    std::vector<CUstream_st*> busy;
    for (CUstream_st* stream : streams()) {
      if (stream->done < stream->issued) busy.push_back(stream);
    }
    if (busy.empty()) break;
    CUstream_st& stream = *busy[random_below(busy.size())];
    run_until(stream, stream.done + 1);
  }
  for (CUstream_st* stream : streams()) acquire(&stream->clock);
}

bool poll(CUstream_st& stream, std::uint64_t number) {
  if (stream.done >= number) return true;
  if (may_run_here(*stream.queue.front())) run_until(stream, stream.done + 1);
  return false;
}

}  // namespace cuda_emulator
