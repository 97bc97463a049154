// Lanes of a warp that execute one operation together.
#include <algorithm>
#include <cstring>

#include "block.h"

namespace cuda_emulator {

WarpMeeting* Block::open_meeting(WarpOperation operation, std::uint32_t mask, Site site) {
  for (WarpMeeting* meeting : warps_[running_ / 32].open) {
    if (meeting->mask == mask && meeting->operation == operation && meeting->site.line == site.line &&
        std::strcmp(meeting->site.file, site.file) == 0) {
      return meeting;
    }
    if ((meeting->mask & mask) != 0) {
      fail("%s:%u: warp operation (mask %08x) meets lanes that wait in another one (mask %08x at %s:%u)", site.file,
           site.line, mask, meeting->mask, meeting->site.file, meeting->site.line);
    }
  }
  if (idle_meetings_.empty()) idle_meetings_.push_back(std::make_unique<WarpMeeting>());
  WarpMeeting* meeting = idle_meetings_.back().release();
  idle_meetings_.pop_back();
  meeting->operation = operation;
  meeting->mask = mask;
  meeting->arrived = meeting->left = 0;
  meeting->site = site;
  warps_[running_ / 32].open.push_back(meeting);
  return meeting;
}

WarpMeeting* Block::meet(WarpOperation operation, std::uint32_t mask, const Deposit& deposit, Site site) {
  const int lane = running_ % 32;
  WarpMeeting* meeting = nullptr;
  {
    const Bookkeeping bookkeeping(*this);
    if ((mask >> lane & 1u) == 0) {
      fail("%s:%u: warp operation with mask %08x, which does not name the calling lane %d", site.file, site.line, mask,
           lane);
    }
    meeting = open_meeting(operation, mask, site);
    meeting->deposits[lane] = deposit;
    meeting->arrived |= 1u << lane;
    thread().meeting = meeting;
    thread().state = Thread::State::kInWarpOperation;
  }
  // Only __syncwarp orders memory; the other operations do not, and TSan shall know it.
  if (operation == WarpOperation::kSync) release(meeting);
  {
    const Bookkeeping bookkeeping(*this);
    complete(running_ / 32, meeting);
    wait(site);
  }
  if (operation == WarpOperation::kSync) acquire(meeting);
  return meeting;
}

void Block::complete(int warp, WarpMeeting* meeting) {
  Warp& home = warps_[warp];
  if (meeting->arrived != (meeting->mask & home.exists & ~home.exited)) return;
  std::erase(home.open, meeting);
  const int first = warp * 32, last = std::min(first + 32, static_cast<int>(threads_.size()));
  for (int t = first; t < last; ++t) {
    if (threads_[t].state == Thread::State::kInWarpOperation && threads_[t].meeting == meeting) make_ready(t);
  }
}

void Block::leave(WarpMeeting* meeting, int lane) {
  const Bookkeeping bookkeeping(*this);
  meeting->left |= 1u << lane;
  if (meeting->left != meeting->arrived) return;
  std::unique_ptr<WarpMeeting> idle(meeting);
  // Under TSan an old meeting's clock would order lanes that nothing else orders; a new meeting has a new one.
  if (!under_tsan()) idle_meetings_.push_back(std::move(idle));
}

void WarpExchange::meet(WarpOperation operation, std::uint32_t mask, const Deposit& deposit) {
  Block& block = *current_block();
  lane_ = block.running() % 32;
  meeting_ = block.meet(operation, mask, deposit, site_);
  arrived_ = meeting_->arrived;
}

WarpExchange::~WarpExchange() { current_block()->leave(meeting_, lane_); }

Deposit WarpExchange::deposit_of(int source) const {
  if (source < 0 || source > 31 || (arrived_ >> source & 1u) == 0) {
    fail("%s:%u: lane %d is read, which does not take part (arrived: %08x)", site_.file, site_.line, source, arrived_);
  }
  return meeting_->deposits[source];
}

}  // namespace cuda_emulator
