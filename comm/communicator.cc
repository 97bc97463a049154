#include "comm/communicator.h"

namespace ballast {

std::string broadcast_string(Communicator& group, std::string text, int root) {
  auto length = static_cast<std::int64_t>(text.size());
  group.broadcast(std::as_writable_bytes(std::span(&length, 1)), root);
  text.resize(static_cast<std::size_t>(length));
  group.broadcast(std::as_writable_bytes(std::span(text)), root);
  return text;
}

std::vector<std::string> all_gather_strings(Communicator& group, const std::string& mine) {
  std::vector<std::string> texts;
  for (const auto& bytes : group.all_gather(std::as_bytes(std::span(mine)))) {
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return texts;
}

}  // namespace ballast
