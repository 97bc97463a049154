#include "checkpoints/format/wire.h"

#include <cstdint>
#include <cstring>

#include "compute/error.h"

namespace ballast {

std::string pack(const std::vector<std::string>& texts) {
  std::string packed;
  for (const std::string& text : texts) {
    const std::uint64_t size = text.size();
    packed.append(reinterpret_cast<const char*>(&size), sizeof size);
    packed += text;
  }
  return packed;
}

std::vector<std::string> unpack(const std::string& packed) {
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < packed.size();) {
    std::uint64_t size = 0;
    require(packed.size() - at >= sizeof size, "a message between workers is cut short");
    std::memcpy(&size, packed.data() + at, sizeof size);
    at += sizeof size;
    require(packed.size() - at >= size, "a message between workers is cut short");
    texts.push_back(packed.substr(at, size));
    at += size;
  }
  return texts;
}

}  // namespace ballast
