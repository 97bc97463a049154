// Wraps XXH3-128 of xxhash, the only file that includes it.
#include "checkpoints/format/digest.h"

#include <xxhash.h>

#include <algorithm>
#include <new>

#include "compute/error.h"

namespace ballast {
namespace {

std::string hex_of(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

void Digest::StateDeleter::operator()(void* state) const { XXH3_freeState(static_cast<XXH3_state_t*>(state)); }

Digest::Digest() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_.get()));
}

void Digest::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes.data(), bytes.size());
}

void Digest::update(std::int64_t number) {
  std::byte bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>((static_cast<std::uint64_t>(number) >> (8 * i)) & 0xff);
  update(std::span<const std::byte>(bytes));
}

std::string Digest::hex() const { return hex_of(XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state_.get()))); }

std::string digest_of(std::span<const std::byte> bytes) { return hex_of(XXH3_128bits(bytes.data(), bytes.size())); }

std::string digest_of(std::string_view text) { return digest_of(std::as_bytes(std::span(text))); }

bool is_digest(std::string_view text) {
  return text.size() == kDigestDigits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace ballast
