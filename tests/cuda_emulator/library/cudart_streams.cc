// The CUDA runtime: streams and events.
#include <cuda_runtime_api.h>

#include "capture.h"
#include "last_error.h"
#include "streams.h"

using namespace cuda_emulator;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Lock lock;
  *stream = &create_stream((flags & cudaStreamNonBlocking) == 0);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock;
  destroy_stream(stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock;
  if (const cudaError_t error = forbidden_while_capturing(stream_of(stream))) return remember(error);
  synchronize(stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock;
  CUstream_st& polled = stream_of(stream);
  if (const cudaError_t error = forbidden_while_capturing(polled)) return remember(error);
  if (!poll(polled, polled.issued)) return cudaErrorNotReady;
  acquire(&polled.clock);
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  const Lock lock;
  push(stream_of(stream),
       {.what = "cudaLaunchHostFunc", .run = [=](CUstream_st&) { function(data); }, .node = Node::kHostFunction});
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;  // work that waits for it holds the record
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock;
  event->record = record_event(stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock;
  if (const cudaError_t error = forbidden_wait(stream_of(stream), event->record)) return remember(error);
  wait_for(stream_of(stream), event->record);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock;
  if (event->record.stream == nullptr) return cudaSuccess;
  if (event->record.capture != nullptr) return remember(cudaErrorCapturedEvent);
  synchronize(event->record);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock;
  if (event->record.stream == nullptr) return cudaSuccess;
  if (event->record.capture != nullptr) return remember(cudaErrorCapturedEvent);
  if (!poll(*event->record.stream, event->record.number)) return cudaErrorNotReady;
  acquire(event->record.clock.get());
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0.001f;  // nothing is timed here; a rate computed from it is at least finite
  return cudaSuccess;
}

}  // extern "C"
