#include "launcher/plan/task_list.h"

#include <algorithm>
#include <cmath>

#include "comm/link_probe.h"

namespace ballast {
namespace {

constexpr auto kPieceBytes = static_cast<double>(LinkProbe::kPieceBytes);

}  // namespace

void Traffic::add(const Traffic& more) {
  out += more.out;
  in += more.in;
  messages_out += more.messages_out;
  messages_in += more.messages_in;
}

int TaskList::add(Task task) {
  tasks_.push_back(std::move(task));
  return static_cast<int>(tasks_.size()) - 1;
}

void TaskList::work(const char* phase, std::string name, double seconds, bool memory, std::vector<int> also) {
  if (last_ >= 0) also.push_back(last_);
  last_ =
      add({.phase = phase, .name = std::move(name), .seconds = seconds, .after = std::move(also), .memory = memory});
}

Passage TaskList::exchange(const Way& way, const std::string& name, const Traffic& traffic, double asked) {
  const auto one = [&](Resource link, double bytes, double messages) {
    return add({.phase = link == Resource::kLinkOut ? way.send : way.receive,
                .name = name,
                .resource = link,
                .seconds = link_seconds(bytes, messages),
                .after = last_ >= 0 ? std::vector<int>{last_} : std::vector<int>(),
                .delay = asked + (link == Resource::kLinkIn ? cluster_.latency : 0.0),
                .bytes = bytes,
                .messages = messages,
                .urgent = way.urgent});
  };
  const int out = one(Resource::kLinkOut, traffic.out, traffic.messages_out);
  const int in = one(Resource::kLinkIn, traffic.in, traffic.messages_in);
  handle(name, traffic.out, last_, asked);
  handle(name, traffic.in, in, 0.0);
  return {out, in};
}

void TaskList::handle(const std::string& name, double bytes, int after, double delay) {
  const double seconds = bytes * cluster_.network_overhead / static_cast<double>(cluster_.workers);
  if (seconds == 0.0) return;
  add({.phase = "network",
       .name = name,
       .seconds = seconds,
       .after = after >= 0 ? std::vector<int>{after} : std::vector<int>(),
       .delay = delay});
}

double TaskList::link_seconds(double bytes, double messages) const {
  const double pieces = messages > 0.0 ? messages * std::max(1.0, std::ceil(bytes / messages / kPieceBytes)) : 0.0;
  return bytes / cluster_.network_bandwidth + pieces * cluster_.message_seconds;
}

}  // namespace ballast
