#include "comm/nccl/nccl_exchange.h"

#include <nccl.h>

#include <cstddef>

#include "compute/error.h"

namespace ballast::nccl {
namespace {

std::size_t bytes_in(ConstDeviceSpan span) { return static_cast<std::size_t>(span.bytes()); }

}  // namespace

NcclExchange::NcclExchange(Communicator& world, Backend& backend, double timeout_seconds)
    : backend_(backend), group_(world, timeout_seconds) {}

void NcclExchange::after_compute() {
  computed_.record(compute());
  computed_.hold(stream_.get());
}

void NcclExchange::begin_group() { group_.noted(ncclGroupStart(), "ncclGroupStart"); }

void NcclExchange::send(ConstDeviceSpan from, int to) {
  group_.noted(ncclSend(from.data, bytes_in(from), ncclUint8, to, group_.get(), stream_.get()), "ncclSend");
}

void NcclExchange::receive(DeviceSpan to, int from) {
  group_.noted(ncclRecv(to.data, bytes_in(to), ncclUint8, from, group_.get(), stream_.get()), "ncclRecv");
}

void NcclExchange::end_group() { group_.complete(ncclGroupEnd(), "ncclGroupEnd"); }

void NcclExchange::reduce_scatter(ConstDeviceSpan all, DeviceSpan mine) {
  require(all.dtype == DType::kF32 && mine.dtype == DType::kF32, "NcclExchange: reduce_scatter() adds f32");
  group_.complete(ncclReduceScatter(all.data, mine.data, static_cast<std::size_t>(mine.size), ncclFloat32, ncclSum,
                                    group_.get(), stream_.get()),
                  "ncclReduceScatter");
}

void NcclExchange::all_gather(ConstDeviceSpan mine, DeviceSpan all) {
  group_.complete(ncclAllGather(mine.data, all.data, bytes_in(mine), ncclUint8, group_.get(), stream_.get()),
                  "ncclAllGather");
}

int NcclExchange::mark() {
  if (marks_used_ == static_cast<int>(marks_.size())) marks_.emplace_back();
  marks_[static_cast<std::size_t>(marks_used_)].record(stream_.get());
  return marks_used_++;
}

void NcclExchange::before_compute(int mark) { marks_[static_cast<std::size_t>(mark)].hold(compute()); }

void NcclExchange::wait() {
  group_.wait(stream_.get());
  marks_used_ = 0;
}

}  // namespace ballast::nccl
