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

/// How the tensors of one copy of the weights are called: values + NAME, and states + STATE/NAME.
struct TensorNames {
  std::string values, states;
};
/// Of a group's own copy, where there is one for each.
[[nodiscard]] TensorNames names_of_group(int group);

/// | tensor                | of                      | is                                                            |
/// |-----------------------|-------------------------|---------------------------------------------------------------|
/// | NAME                  | every parameter         | its values; in weights.h5, all others in optimizer.h5         |
/// | STATE/NAME            | every trained parameter | a state of the optimizer                                      |
/// | error/G/NAME          | every trained parameter | what comm.compression has left over of group G's gradient     |
///
/// With [outer] the values are the outer ones, and instead of STATE/NAME there are
///
/// | outer/momentum/NAME   | every trained parameter | the outer optimizer's state                                   |
/// | outer/error/NAME      | every trained parameter | what comm.compression has left over of the outer update       |
/// | groups/G/values/NAME  | every parameter         | group G's copy                                                |
/// | groups/G/STATE/NAME   | every trained parameter | a state of group G's optimizer                                |
class StateTensors {
 public:
  /// `shards`: of a step.
  StateTensors(const ParameterTable& parameters, const JobConfig& config, int shards);

  [[nodiscard]] const std::vector<TensorSpec>& specs() const { return specs_; }
  /// The pieces by number of their tensor.
  [[nodiscard]] std::vector<TensorPiece> numbered(std::span<const NamedPiece> pieces) const;

 private:
  void add(const std::string& name, const Shape& shape, TensorFile file);
  void add_trained(const std::string& prefix, const ParameterTable& parameters);
  void add_all(const std::string& prefix, const ParameterTable& parameters, TensorFile file);
  void add_groups(const ParameterTable& parameters, const JobConfig& config, int groups);

  std::vector<TensorSpec> specs_;
  std::map<std::string, int> numbers_;
};

[[nodiscard]] std::vector<ConstTensorPiece> readable(std::span<const TensorPiece> pieces);

/// Appends the pieces of tensors PREFIX + NAME that flat elements [begin, begin + values.size) are.
void append_pieces(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin, DeviceSpan values,
                   std::vector<NamedPiece>& pieces);
/// The same of trained parameters only.
void append_trained_pieces(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin,
                           DeviceSpan values, std::vector<NamedPiece>& pieces);

/// How gradients travel, as the job says.
[[nodiscard]] GradientCoding coding_of(const CommSection& comm);
/// "none", or "int8 in 4 groups": what bits depend on.
[[nodiscard]] std::string compression_text(const CommSection& comm, int shards);
/// "none", or "every 50 steps in 4 groups, 2 fragments, delay 5".
[[nodiscard]] std::string outer_text(const JobConfig& config, int shards);
/// Of neighbouring shards: comm.groups, or as many as shards.
[[nodiscard]] int groups_of(const CommSection& comm, int shards);

}  // namespace ballast
