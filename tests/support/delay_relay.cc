// delay_relay MILLISECONDS DEVICE...
//
// An Ethernet switch whose frames arrive later: what comes in on one device leaves, after the time given, through the
// device behind which its destination was seen, or through all others. For kernels whose traffic control cannot delay
// (netem). Frames keep the offload header of the kernel, so that large segments stay in one piece. Ends with SIGTERM.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Address = std::array<unsigned char, ETH_ALEN>;

constexpr std::size_t kLargestFrame = (64 << 10) + 256;
constexpr std::size_t kOffloadHeader = 10;  // virtio_net_hdr, whose header is not C++
constexpr int kKernelBuffer = 16 << 20;

struct Frame {
  Clock::time_point due;
  std::size_t from;
  std::vector<char> bytes;  // offload header, Ethernet header, the rest
};

int check(int result, const std::string& what) {
  if (result < 0) throw std::runtime_error(what + ": " + std::strerror(errno));
  return result;
}

template <typename T>
void set_option(int socket, int level, int name, const T& value, const std::string& what) {
  check(setsockopt(socket, level, name, &value, sizeof(value)), what);
}

int open_device(const std::string& device) {
  const int socket_number = check(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), "socket");
  sockaddr_ll place{};
  place.sll_family = AF_PACKET;
  place.sll_protocol = htons(ETH_P_ALL);
  place.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
  set_option(socket_number, SOL_PACKET, PACKET_VNET_HDR, 1, device);
  set_option(socket_number, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, device);
  set_option(socket_number, SOL_SOCKET, SO_RCVBUFFORCE, kKernelBuffer, device);
  set_option(socket_number, SOL_SOCKET, SO_SNDBUFFORCE, kKernelBuffer, device);
  packet_mreq everything{place.sll_ifindex, PACKET_MR_PROMISC, 0, {}};
  set_option(socket_number, SOL_PACKET, PACKET_ADD_MEMBERSHIP, everything, device);
  check(bind(socket_number, reinterpret_cast<const sockaddr*>(&place), sizeof(place)), device);
  return socket_number;
}

Address address_at(const Frame& frame, std::size_t offset) {
  Address address{};
  std::memcpy(address.data(), frame.bytes.data() + kOffloadHeader + offset, address.size());
  return address;
}

class Relay {
 public:
  Relay(std::chrono::duration<double, std::milli> delay, std::span<char* const> devices)
      : delay_(std::chrono::duration_cast<Clock::duration>(delay)) {
    for (const char* device : devices) polled_.push_back({open_device(device), POLLIN, 0});
  }

  [[noreturn]] void run() {
    while (true) {
      const timespec patience = until_next();
      ppoll(polled_.data(), polled_.size(), queue_.empty() ? nullptr : &patience, nullptr);
      for (std::size_t port = 0; port < polled_.size(); ++port) {
        if ((polled_[port].revents & POLLIN) != 0) take_all(port);
      }
      for (; !queue_.empty() && queue_.front().due <= Clock::now(); queue_.pop_front()) deliver(queue_.front());
    }
  }

 private:
  [[nodiscard]] timespec until_next() const {
    if (queue_.empty()) return {};
    const auto left = std::max(Clock::duration::zero(), queue_.front().due - Clock::now());
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
    return {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  }

  void take_all(std::size_t port) {
    std::vector<char> bytes(kLargestFrame);
    for (ssize_t size = 0; (size = recv(polled_[port].fd, bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;) {
      Frame& frame = queue_.emplace_back(Frame{Clock::now() + delay_, port, {bytes.begin(), bytes.begin() + size}});
      behind_[address_at(frame, ETH_ALEN)] = port;
    }
  }

  // A full queue of the device drops the frame, as a switch would.
  void deliver(const Frame& frame) {
    const auto known = behind_.find(address_at(frame, 0));
    for (std::size_t port = 0; port < polled_.size(); ++port) {
      const bool here = known == behind_.end() ? port != frame.from : port == known->second;
      if (here) (void)!send(polled_[port].fd, frame.bytes.data(), frame.bytes.size(), 0);
    }
  }

  Clock::duration delay_;
  std::vector<pollfd> polled_;
  std::deque<Frame> queue_;  // by due time: the delay is the same for all
  std::map<Address, std::size_t> behind_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: delay_relay MILLISECONDS DEVICE...\n";
    return 64;
  }
  try {
    Relay relay(std::chrono::duration<double, std::milli>(std::stod(argv[1])), std::span(argv + 2, argv + argc));
    std::cout << "ready" << std::endl;
    relay.run();
  } catch (const std::exception& error) {
    std::cerr << "delay_relay: " << error.what() << '\n';
    return 1;
  }
}
