// Defines: Digest, digest_of: XXH3-128, written as 32 lower-case hex digits, most significant first.
//
// It finds damage, not malice: whoever can change a file can change its digest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace ballast {

inline constexpr std::size_t kDigestDigits = 32;

class Digest {
 public:
  Digest();
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  void update(std::int64_t number);  ///< eight bytes, little-endian
  [[nodiscard]] std::string hex() const;

 private:
  struct StateDeleter {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, StateDeleter> state_;  // XXH3_state_t
};

[[nodiscard]] std::string digest_of(std::span<const std::byte> bytes);
[[nodiscard]] std::string digest_of(std::string_view text);
[[nodiscard]] bool is_digest(std::string_view text);  ///< 32 lower-case hex digits

}  // namespace ballast
