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

TokenLayout after_header(const ListedFile& file, std::uint32_t version, std::uint32_t count) {
  if (version != 1) {
    throw data_error(file.path, 4, "version " + std::to_string(version) + " of llm.c's token format; known is 1");
  }
  const std::int64_t expected = kHeaderBytes + std::int64_t{2} * count;
  if (file.bytes != expected) {
    throw data_error(file.path, std::min(file.bytes, expected),
                     "the header promises " + std::to_string(count) + " tokens, so " + std::to_string(expected) +
                         " bytes, but the file has " + std::to_string(file.bytes) + ". Get or make it again");
  }
  return {kHeaderBytes, count, 2};
}

TokenLayout find_tokens(const FileSet& set, std::size_t number) {
  const ListedFile& file = set.files()[number];
  std::array<std::byte, 12> head{};
  set.read(number, 0, std::span(head).first(static_cast<std::size_t>(std::min<std::int64_t>(12, file.bytes))));
  const std::uint32_t magic = word(head, 0);
  if (magic == kMagic32) {
    throw data_error(file.path, 0, "llm.c file of 32-bit tokens; Ballast reads the 16-bit ones (magic 20240520)");
  }
  if (magic == kMagic16) return after_header(file, word(head, 1), word(head, 2));
  if (file.bytes % 2 != 0) {
    throw data_error(file.path, file.bytes - 1,
                     "half a token: an odd number of bytes is not a file of uint16 tokens. For plain text use "
                     "data.format = \"text\"");
  }
  return {0, file.bytes / 2, 2};
}

}  // namespace

Datasets open_tokens(const DataSection& config, const InputSpec& input) {
  return open_windows(config, input, &find_tokens);
}

}  // namespace ballast
