// Defines: pack, unpack: several texts in one, for messages between workers of one job. Never on disk.
#pragma once

#include <string>
#include <vector>

namespace ballast {

[[nodiscard]] std::string pack(const std::vector<std::string>& texts);
[[nodiscard]] std::vector<std::string> unpack(const std::string& packed);

}  // namespace ballast
