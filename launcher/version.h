// Defines: version.
#pragma once

namespace ballast {

/// "0.1.0", from the project's CMakeLists.txt.
[[nodiscard]] const char* version();

}  // namespace ballast
