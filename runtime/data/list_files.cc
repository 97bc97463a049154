// Implements list_files and names_several of runtime/data/file_set.h.
#include <algorithm>
#include <filesystem>

#include "runtime/data/file_set.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

bool is_pattern(const std::string& name) { return name.find_first_of("*?") != std::string::npos; }

/// * stands for any characters, ? for one. After a mismatch the last * takes one character more.
bool matches(const std::string& pattern, const std::string& name) {
  std::size_t p = 0, n = 0, star = std::string::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string::npos;
}

std::vector<std::string> names_in(const fs::path& folder, const std::string& pattern) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(folder.empty() ? "." : folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::string name = entries->path().filename().string();
    std::error_code unknown;  // what cannot be told is listed, and refused with its name
    if (name.starts_with('.') || !matches(pattern, name) || entries->is_directory(unknown)) continue;
    names.push_back(std::move(name));
  }
  if (error) {
    throw DataError(folder.string() + ": cannot be read: " + error.message() +
                    ". Check the path in section [data]; * and ? may stand in its last part");
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

bool names_several(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status)) return fs::is_directory(status);
  return is_pattern(fs::path(path).filename().string());
}

FileList list_files(const std::string& path) {
  if (!names_several(path)) return {{path, data_file_bytes(path)}};
  std::error_code error;
  const bool whole_folder = fs::is_directory(path, error);
  const fs::path folder = whole_folder ? fs::path(path) : fs::path(path).parent_path();
  FileList files;
  for (const std::string& name : names_in(folder, whole_folder ? "*" : fs::path(path).filename().string())) {
    const std::string file = (folder / name).string();
    files.push_back({file, data_file_bytes(file)});
  }
  if (files.empty()) {
    throw DataError(path + (whole_folder ? ": holds no files" : ": no file matches") +
                    "; hidden files and subfolders do not count. Check the path in section [data]");
  }
  return files;
}

}  // namespace ballast
