#include "compute/plugin.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "compute/error.h"

namespace ballast {

namespace {

std::string last_words_of_loader() {
  const char* words = dlerror();
  return words == nullptr ? "the loader gives no reason" : words;
}

}  // namespace

std::string Plugin::folder_of(const std::string& folder) {
  if (!folder.empty()) return folder;
  std::error_code ignored;  // without /proc the loader looks in its own folders and says so
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return (program.parent_path().parent_path() / "lib" / "ballast").string();
}

Plugin Plugin::open(const std::string& folder, const std::string& file) {
  const std::string path = folder_of(folder) + "/" + file;
  // Local: two plugins, and the program, hold copies of the same rooms, and each must use its own.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) throw ConfigError(last_words_of_loader());
  const Plugin plugin(library);
  const int version = plugin.symbol<int (*)()>("ballast_plugin_version")();
  if (version != kPluginVersion) {
    throw ConfigError(path + " is of plugin version " + std::to_string(version) + ", this program needs " +
                      std::to_string(kPluginVersion) + ": install both from one build");
  }
  return plugin;
}

void* Plugin::address_of(const char* name) const {
  void* address = dlsym(library_, name);
  if (address == nullptr) throw ConfigError(last_words_of_loader());
  return address;
}

}  // namespace ballast
