#include "launcher/launch/hosts.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>

#include "compute/error.h"

namespace ballast {
namespace {

[[noreturn]] void usage_error(const std::string& message) { throw Error("launch: " + message, ExitCode::kUsage); }

int positive(const std::string& text, const std::string& where) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
    usage_error("host '" + where + "': the workers it may have must be a number from 1");
  }
  return value;
}

// "a", "a:2", "a slots=2": the forms of --host and of a host file.
Host parse_host(const std::string& entry) {
  std::istringstream words(entry);
  Host host;
  words >> host.name;
  const std::size_t colon = host.name.find(':');
  if (colon != std::string::npos) {
    host.slots = positive(host.name.substr(colon + 1), entry);
    host.name.resize(colon);
  }
  for (std::string word; words >> word;) {
    if (!word.starts_with("slots=")) usage_error("host '" + entry + "': only slots=N may follow the name");
    host.slots = positive(word.substr(6), entry);
  }
  if (host.name.empty() || host.name.starts_with("-")) usage_error("'" + entry + "' is not a host");
  return host;
}

std::string numeric_address(const sockaddr* address) {
  std::array<char, NI_MAXHOST> text{};
  const socklen_t size = address->sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  const int failed =
      getnameinfo(address, size, text.data(), static_cast<socklen_t>(text.size()), nullptr, 0, NI_NUMERICHOST);
  return failed == 0 ? text.data() : "";
}

bool is_internet(const sockaddr* address) {
  return address != nullptr && (address->sa_family == AF_INET || address->sa_family == AF_INET6);
}

std::set<std::string> addresses_of_this_machine() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(first, &freeifaddrs);
  std::set<std::string> addresses;
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (is_internet(one->ifa_addr)) addresses.insert(numeric_address(one->ifa_addr));
  }
  return addresses;
}

}  // namespace

std::vector<Host> parse_hosts(const std::string& text) {
  std::vector<Host> hosts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream entries(line.substr(0, line.find('#')));
    for (std::string entry; std::getline(entries, entry, ',');) {
      if (entry.find_first_not_of(" \t\r") == std::string::npos) continue;
      const Host host = parse_host(entry);
      if (std::any_of(hosts.begin(), hosts.end(), [&](const Host& other) { return other.name == host.name; })) {
        usage_error("host '" + host.name + "' is named twice");
      }
      hosts.push_back(host);
    }
  }
  if (hosts.empty()) usage_error("there is no host in '" + text + "'");
  return hosts;
}

std::vector<Host> read_hosts(const std::string& list_or_file) {
  std::error_code absent;
  if (!std::filesystem::is_regular_file(list_or_file, absent)) return parse_hosts(list_or_file);
  std::ifstream file(list_or_file);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_hosts(text.str());
}

std::vector<Host> slurm_hosts(const std::string& names, const std::string& tasks) {
  std::vector<Host> hosts = parse_hosts(names);
  std::vector<int> slots;
  std::istringstream entries(tasks);
  for (std::string entry; std::getline(entries, entry, ',');) {
    const std::size_t open = entry.find("(x");
    const std::string times = open == std::string::npos ? "1" : entry.substr(open + 2, entry.size() - open - 3);
    slots.insert(slots.end(), static_cast<std::size_t>(positive(times, tasks)), positive(entry.substr(0, open), tasks));
  }
  for (std::size_t i = 0; i < std::min(hosts.size(), slots.size()); ++i) hosts[i].slots = slots[i];
  return hosts;
}

std::vector<int> spread(const std::vector<int>& slots, int most) {
  std::vector<int> workers(slots.size(), 0);
  int left = std::min(most, std::accumulate(slots.begin(), slots.end(), 0));
  for (std::size_t i = 0; left > 0; i = (i + 1) % slots.size()) {
    if (workers[i] == slots[i]) continue;
    ++workers[i];
    --left;
  }
  return workers;
}

bool is_this_machine(const std::string& name) {
  std::array<char, 256> own{};
  if (name == "localhost" || (gethostname(own.data(), own.size() - 1) == 0 && name == own.data())) return true;
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &first) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(first, &freeaddrinfo);
  const std::set<std::string> ours = addresses_of_this_machine();
  for (const addrinfo* one = first; one != nullptr; one = one->ai_next) {
    if (is_internet(one->ai_addr) && ours.contains(numeric_address(one->ai_addr))) return true;
  }
  return false;
}

std::string hosts_text(const std::vector<Host>& hosts) {
  std::string text;
  for (const Host& host : hosts) text += (text.empty() ? "" : ", ") + host.name + ':' + std::to_string(host.slots);
  return text;
}

}  // namespace ballast
