// Defines: ParameterKind, Initializer, Parameter, ParameterTable, initial_values.
//
// Parameters live in flat buffers (values, gradients, optimizer states) that all have the layout of one table.
// Reduction, update, norm and checkpoint are operations on ranges of it. Order = order of declaration = forward order,
// so backward completes gradients from the end of the buffer to its start.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compute/tensor.h"

namespace ballast {

enum class ParameterKind : std::uint8_t {
  kTrained,
  kStatistic,  ///< running statistic: its "gradient" is this step's value, averaged in by UpdateKind::kAverage
};

struct Initializer {
  enum class Kind : std::uint8_t { kConstant, kNormal, kXavier, kHe } kind = Kind::kConstant;
  float scale = 0.0F;  ///< the constant, or the standard deviation of kNormal; a gain for kXavier and kHe
  std::int64_t fan_in = 0, fan_out = 0;  ///< kXavier: uniform, Glorot and Bengio 2010. kHe: normal, He et al. 2015
};

struct Parameter {
  std::string name;  ///< "blocks.0.attention.qkv.weight": printable ASCII, unique
  Shape shape;
  ParameterKind kind = ParameterKind::kTrained;
  Initializer initializer;
  DType compute = DType::kF32;  ///< what forward and backward read: bf16 only for shapes of rank >= 2 in bf16 models
  std::int64_t offset = 0;      ///< elements from the start of a flat buffer, a multiple of 16 (64 bytes of f32)
  std::int64_t size = 0;        ///< elements

  /// Weight decay, L1 and L2 act on matrices and filters, not on biases, gains or statistics.
  [[nodiscard]] bool decays() const { return kind == ParameterKind::kTrained && shape.rank() >= 2; }
};

class ParameterTable {
 public:
  /// Appends and returns the index. Throws Error for a name that is there already.
  int add(std::string name, Shape shape, ParameterKind kind, Initializer initializer, DType compute);
  [[nodiscard]] const Parameter& operator[](int index) const { return parameters_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] const std::vector<Parameter>& all() const { return parameters_; }
  [[nodiscard]] int count() const { return static_cast<int>(parameters_.size()); }
  [[nodiscard]] std::int64_t flat_size() const { return flat_size_; }  ///< elements of a flat buffer, padding included
  [[nodiscard]] std::int64_t trained_elements() const;                 ///< without padding and statistics
  [[nodiscard]] int find(const std::string& name) const;               ///< -1 when absent

 private:
  std::vector<Parameter> parameters_;
  std::int64_t flat_size_ = 0;
};

/// Initial values of elements [begin, begin + out.size()) of a parameter: a pure function of (seed, name, element).
void initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t begin, std::span<float> out);

}  // namespace ballast
