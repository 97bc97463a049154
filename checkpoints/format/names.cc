#include "checkpoints/format/names.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>

namespace ballast {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::size_t kStepDigits = 12;
constexpr std::size_t kMaxNameBytes = 512;

}  // namespace

const char* file_name_of(TensorFile file) { return file == TensorFile::kWeights ? kWeightsFile : kOptimizerFile; }

std::optional<TensorFile> tensor_file_named(const std::string& name) {
  for (const TensorFile file : kTensorFiles) {
    if (name == file_name_of(file)) return file;
  }
  return std::nullopt;
}

bool is_tensor_name(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
  if (!std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; })) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string component = name.substr(begin, end - begin);
    if (component.empty() || component == "." || component == "..") return false;
    begin = end + 1;
  }
  return true;
}

std::string checkpoint_name(std::int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < kStepDigits) digits.insert(0, kStepDigits - digits.size(), '0');
  return std::string(kStepPrefix) + digits;
}

std::optional<std::int64_t> step_of(const std::string& name) {
  if (name.size() != kStepPrefix.size() + kStepDigits || !name.starts_with(kStepPrefix)) return std::nullopt;
  std::int64_t step = 0;
  for (const char digit : name.substr(kStepPrefix.size())) {
    if (digit < '0' || digit > '9') return std::nullopt;
    step = step * 10 + (digit - '0');
  }
  return step;
}

std::string hidden_name(const std::string& prefix, const std::string& name) {
  std::random_device nonce;
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%d-%08x", static_cast<int>(::getpid()), static_cast<unsigned>(nonce()));
  return prefix + name + tail;
}

}  // namespace ballast
