// Defines: Plugin, kPluginVersion: libraries that the program opens at run time, so that it starts without them.
#pragma once

#include <string>

namespace ballast {

/// Changes when anything changes that crosses the boundary between the program and its plugins.
constexpr int kPluginVersion = 1;

/// An opened library. It is never closed: what it made, and exceptions that it threw, need its code. Besides its own
/// entries it exports `int ballast_plugin_version()`, which returns the kPluginVersion that it was compiled with.
class Plugin {
 public:
  /// Opens folder/file; an empty folder is the one beside the program: <program>/../lib/ballast. Throws ConfigError in
  /// the loader's words, and for a library of another version.
  [[nodiscard]] static Plugin open(const std::string& folder, const std::string& file);

  /// Where open() looks.
  [[nodiscard]] static std::string folder_of(const std::string& folder);

  /// The function of this name and type, for example symbol<int (*)()>("ballast_plugin_version"). Throws ConfigError.
  template <class Function>
  [[nodiscard]] Function symbol(const char* name) const {
    return reinterpret_cast<Function>(address_of(name));
  }

 private:
  explicit Plugin(void* library) : library_(library) {}
  [[nodiscard]] void* address_of(const char* name) const;

  void* library_;
};

}  // namespace ballast
