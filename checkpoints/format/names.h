// Defines: the names inside a checkpoint folder and what a name may be.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "checkpoints/checkpoint.h"

namespace ballast {

inline constexpr const char* kWeightsFile = "weights.h5";
inline constexpr const char* kOptimizerFile = "optimizer.h5";
inline constexpr const char* kStateFile = "state";
inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr std::array<TensorFile, 2> kTensorFiles = {TensorFile::kWeights, TensorFile::kOptimizer};
inline constexpr int kMaxRank = 8;  ///< of a stored tensor

[[nodiscard]] const char* file_name_of(TensorFile file);
[[nodiscard]] std::optional<TensorFile> tensor_file_named(const std::string& name);

/// 1 to 512 printable ASCII characters without blanks; no empty component, "." or ".." between slashes.
[[nodiscard]] bool is_tensor_name(const std::string& name);
/// The step of "step-000000000042"; nothing for any other name.
[[nodiscard]] std::optional<std::int64_t> step_of(const std::string& checkpoint_name);
/// A name in the same folder that no other process and no other save picks: ".tmp-step-000000000042-4711-9f3a61c2".
[[nodiscard]] std::string hidden_name(const std::string& prefix, const std::string& name);

}  // namespace ballast
