#include "tests/support/host_exchange.h"

#include <algorithm>
#include <cstring>

#include "comm/split/device_bytes.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr int kTag = 1;

}  // namespace

void HostExchange::begin_group() {
  require(!in_group_, "HostExchange: begin_group() twice");
  in_group_ = true;
}

void HostExchange::send(ConstDeviceSpan from, int to) {
  require(in_group_ && to != world_->rank(), "HostExchange: send() outside a group, or to myself");
  requests_.push_back(world_->send(bytes_of(from), to, kTag));
}

void HostExchange::receive(DeviceSpan to, int from) {
  require(in_group_ && from != world_->rank(), "HostExchange: receive() outside a group, or from myself");
  requests_.push_back(world_->receive(bytes_of(to), from, kTag));
}

void HostExchange::end_group() {
  require(in_group_, "HostExchange: end_group() without begin_group()");
  in_group_ = false;
}

/// From the last worker to the first, so that no order of ours comes out by chance.
void HostExchange::reduce_scatter(ConstDeviceSpan all, DeviceSpan mine) {
  const auto everything = world_->all_gather(bytes_of(all));
  auto* sum = static_cast<float*>(mine.data);
  std::fill_n(sum, mine.size, 0.0F);
  for (auto theirs = everything.rbegin(); theirs != everything.rend(); ++theirs) {
    std::vector<float> slot(static_cast<std::size_t>(mine.size));
    std::memcpy(slot.data(), theirs->data() + world_->rank() * mine.bytes(), static_cast<std::size_t>(mine.bytes()));
    for (std::int64_t i = 0; i < mine.size; ++i) sum[i] += slot[static_cast<std::size_t>(i)];
  }
}

void HostExchange::all_gather(ConstDeviceSpan mine, DeviceSpan all) {
  std::byte* to = bytes_of(all).data();
  for (const auto& theirs : world_->all_gather(bytes_of(mine))) to = std::copy(theirs.begin(), theirs.end(), to);
}

void HostExchange::before_compute(int mark) {
  for (int i = 0; i < mark; ++i) requests_[static_cast<std::size_t>(i)]->wait();
}

void HostExchange::wait() {
  before_compute(mark());
  requests_.clear();
}

}  // namespace ballast
