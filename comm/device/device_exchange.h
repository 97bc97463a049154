// Defines: DeviceExchange: how bytes get from the device of one worker to that of another.
#pragma once

#include "compute/tensor.h"

namespace ballast {

/// Transfers run in the order in which they are handed over, beside the backend's queue: after_compute() and
/// before_compute() order the two. Every worker hands over the same collectives and matching transfers, in one order.
/// Calls may return before the work is done. All throw Error, with the rank in the text, when a transfer has failed or
/// the others do not answer in time; what is under way is then aborted. So it is when the exchange is destroyed while
/// an exception is on its way out: a worker that fails must not wait for the others, or its error would not be printed.
class DeviceExchange {
 public:
  DeviceExchange() = default;
  DeviceExchange(const DeviceExchange&) = delete;
  DeviceExchange& operator=(const DeviceExchange&) = delete;
  virtual ~DeviceExchange() = default;

  /// What is handed over from now on waits for what the backend's queue holds now.
  virtual void after_compute() = 0;

  /// Transfers between begin_group() and end_group() run at once. Between two workers they match in order.
  virtual void begin_group() = 0;
  virtual void send(ConstDeviceSpan from, int to) = 0;
  virtual void receive(DeviceSpan to, int from) = 0;
  virtual void end_group() = 0;

  /// mine[i] = sum over the workers of their all[rank * mine.size + i], in an order of the transport's own. f32.
  virtual void reduce_scatter(ConstDeviceSpan all, DeviceSpan mine) = 0;
  /// all[r * mine.size + i] = mine[i] of worker r. `mine` may be its place in `all`.
  virtual void all_gather(ConstDeviceSpan mine, DeviceSpan all) = 0;

  /// A number for what was handed over so far; good until wait().
  [[nodiscard]] virtual int mark() = 0;
  /// What the backend's queue gets from now on waits for what was handed over before the mark.
  virtual void before_compute(int mark) = 0;

  /// Returns when all that was handed over is done.
  virtual void wait() = 0;
  /// Throws when a transfer has failed.
  virtual void check() = 0;
};

}  // namespace ballast
