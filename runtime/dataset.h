// Defines: Dataset, Samples, open_datasets, permuted_index: data as a pure function of an index.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"
#include "runtime/job.h"

namespace ballast {

/// Host memory for a micro-batch; see Batch for the layout.
struct Samples {
  std::vector<float> features;
  std::vector<std::int32_t> tokens, targets;
};

/// Immutable; read() may be called from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  [[nodiscard]] virtual std::int64_t size() const = 0;  ///< samples
  /// Samples of the given indices, in that order. `out` is resized.
  virtual void read(std::span<const std::int64_t> indices, Samples& out) const = 0;
  /// Changes when the data does: resuming on other data is refused. Sizes, and a digest
  /// of the content, or of a first look at it where it is large.
  [[nodiscard]] virtual std::string fingerprint() const = 0;
};

struct Datasets {
  std::unique_ptr<Dataset> train;
  std::unique_ptr<Dataset> validation;  ///< never null; may be empty (size 0)
};

/// Opens both for a model's input. DataError names file and offset (missing, empty, truncated, wrong magic, label or
/// token out of range); ConfigError for a format the model cannot eat.
[[nodiscard]] Datasets open_datasets(const DataSection& config, const InputSpec& input, std::uint64_t seed);

/// Position of `index` in a keyed permutation of 0..size-1: a Feistel network over Philox with cycle walking, so a
/// shuffled epoch needs no table and every index appears exactly once.
[[nodiscard]] std::int64_t permuted_index(std::int64_t index, std::int64_t size, std::uint64_t key);

}  // namespace ballast
