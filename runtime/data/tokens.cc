// Implements open_tokens of runtime/data/formats.h.
//
// llm.c's header, little-endian int32: [0] magic 20240520, [1] version 1, [2] count of tokens, [3..255] not used. The
// tokens follow at byte 1024. A file that does not start with a magic number of llm.c is taken as tokens from byte 0.
#include <array>
#include <cstdint>
#include <string>

#include "runtime/data/token_windows.h"

namespace ballast {
namespace {

constexpr std::int64_t kHeaderBytes = 1024;
constexpr std::uint32_t kMagic16 = 20240520;  // uint16 tokens
constexpr std::uint32_t kMagic32 = 20240801;  // uint32 tokens: llama 3

std::uint32_t word(std::span<const std::byte> bytes, std::size_t index) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(bytes[4 * index + i]) << (8 * i);
  return value;
}

TokenLayout after_header(const DataFile& file, std::uint32_t version, std::uint32_t count) {
  if (version != 1) {
    throw data_error(file.path(), 4, "version " + std::to_string(version) + " of llm.c's token format; known is 1");
  }
  const std::int64_t expected = kHeaderBytes + std::int64_t{2} * count;
  if (file.size() != expected) {
    throw data_error(file.path(), std::min(file.size(), expected),
                     "the header promises " + std::to_string(count) + " tokens, so " + std::to_string(expected) +
                         " bytes, but the file has " + std::to_string(file.size()) + ". Get or make it again");
  }
  return {kHeaderBytes, count, 2};
}

TokenLayout layout_of(const DataFile& file) {
  std::array<std::byte, 12> head{};
  file.read(0, std::span(head).first(static_cast<std::size_t>(std::min<std::int64_t>(12, file.size()))));
  const std::uint32_t magic = word(head, 0);
  if (magic == kMagic32) {
    throw data_error(file.path(), 0, "llm.c file of 32-bit tokens; Ballast reads the 16-bit ones (magic 20240520)");
  }
  if (magic == kMagic16) return after_header(file, word(head, 1), word(head, 2));
  if (file.size() % 2 != 0) {
    throw data_error(file.path(), file.size() - 1,
                     "half a token: an odd number of bytes is not a file of uint16 tokens. For plain text use "
                     "data.format = \"text\"");
  }
  return {0, file.size() / 2, 2};
}

}  // namespace

Datasets open_tokens(const DataSection& config, const InputSpec& input) {
  return open_windows(config, input, &layout_of);
}

}  // namespace ballast
