// Defines: NamedPiece, StateTensors: everything of a training that a checkpoint holds as tensors.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "comm/split_allreduce.h"
#include "models/parameters.h"
#include "runtime/job.h"

namespace ballast {

/// A worker's part of a tensor: its elements from `begin` on, in the live memory of a backend.
struct NamedPiece {
  std::string tensor;
  std::int64_t begin = 0;
  DeviceSpan values;
};

/// | tensor          | of                       | is                                                      |
/// |-----------------|--------------------------|---------------------------------------------------------|
/// | NAME            | every parameter          | its values; in weights.h5, all others in optimizer.h5   |
/// | STATE/NAME      | every trained parameter  | a state of the optimizer                                |
/// | error/G/NAME    | every trained parameter  | what comm.compression has left over of group G's gradient |
class StateTensors {
 public:
  /// `shards`: of a step.
  StateTensors(const ParameterTable& parameters, const JobConfig& config, int shards);

  [[nodiscard]] const std::vector<TensorSpec>& specs() const { return specs_; }
  /// The pieces by number of their tensor.
  [[nodiscard]] std::vector<TensorPiece> numbered(std::span<const NamedPiece> pieces) const;

 private:
  void add(const std::string& name, const Shape& shape, TensorFile file);
  void add_family(const std::string& prefix, const ParameterTable& parameters);

  std::vector<TensorSpec> specs_;
  std::map<std::string, int> numbers_;
};

[[nodiscard]] std::vector<ConstTensorPiece> readable(std::span<const TensorPiece> pieces);

/// The pieces of tensors PREFIX/NAME, of trained parameters, that flat elements [begin, begin + values.size) are.
void append_pieces(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin, DeviceSpan values,
                   std::vector<NamedPiece>& pieces);

/// How gradients travel, as the job says.
[[nodiscard]] GradientCoding coding_of(const CommSection& comm);
/// "none", or "int8 in 4 groups": what bits depend on.
[[nodiscard]] std::string compression_text(const CommSection& comm, int shards);
/// Of neighbouring shards: comm.groups, or as many as shards.
[[nodiscard]] int groups_of(const CommSection& comm, int shards);

}  // namespace ballast
