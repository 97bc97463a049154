#include "runtime/state_tensors.h"

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>
#include <utility>

#include "runtime/optimizer.h"

namespace ballast {

StateTensors::StateTensors(const ParameterTable& parameters, const JobConfig& config, int shards) {
  for (const Parameter& parameter : parameters.all()) add(parameter.name, parameter.shape, TensorFile::kWeights);
  for (const std::string& state : make_optimizer(config.optimizer)->states()) add_family(state, parameters);
  if (!coding_of(config.comm).leaves_errors()) return;
  for (int group = 0; group < groups_of(config.comm, shards); ++group) {
    add_family("error/" + std::to_string(group), parameters);
  }
}

void StateTensors::add(const std::string& name, const Shape& shape, TensorFile file) {
  numbers_.emplace(name, static_cast<int>(specs_.size()));
  specs_.push_back({name, shape, file});
}

void StateTensors::add_family(const std::string& prefix, const ParameterTable& parameters) {
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.kind != ParameterKind::kTrained) continue;
    add(prefix + "/" + parameter.name, parameter.shape, TensorFile::kOptimizer);
  }
}

std::vector<TensorPiece> StateTensors::numbered(std::span<const NamedPiece> pieces) const {
  std::vector<TensorPiece> all;
  all.reserve(pieces.size());
  for (const NamedPiece& piece : pieces) {
    const auto number = numbers_.find(piece.tensor);
    require(number != numbers_.end(), "StateTensors: a piece of a tensor that is not declared");
    all.push_back({number->second, piece.begin, piece.values});
  }
  return all;
}

std::vector<ConstTensorPiece> readable(std::span<const TensorPiece> pieces) {
  std::vector<ConstTensorPiece> all;
  all.reserve(pieces.size());
  for (const TensorPiece& piece : pieces) all.push_back({piece.tensor, piece.begin, piece.values});
  return all;
}

void append_pieces(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin, DeviceSpan values,
                   std::vector<NamedPiece>& pieces) {
  const std::int64_t end = begin + values.size;
  const auto ends_behind = [begin](const Parameter& p) { return p.offset + p.size > begin; };
  auto parameter = std::ranges::partition_point(parameters.all(), std::not_fn(ends_behind));
  for (; parameter != parameters.all().end() && parameter->offset < end; ++parameter) {
    if (parameter->kind != ParameterKind::kTrained) continue;
    const std::int64_t first = std::max(begin, parameter->offset);
    const std::int64_t last = std::min(end, parameter->offset + parameter->size);
    pieces.push_back(
        {prefix + "/" + parameter->name, first - parameter->offset, values.subspan(first - begin, last - first)});
  }
}

GradientCoding coding_of(const CommSection& comm) {
  constexpr std::array<std::pair<const char*, Coding>, 6> kNames = {{{"none", Coding::kF32},
                                                                     {"bf16", Coding::kBF16},
                                                                     {"int8", Coding::kInt8},
                                                                     {"int4", Coding::kInt4},
                                                                     {"topk", Coding::kTopK},
                                                                     {"sign", Coding::kSign}}};
  for (const auto& [name, coding] : kNames) {
    if (comm.compression == name) return {.coding = coding, .keep = comm.keep};
  }
  throw ConfigError("comm.compression = \"" + comm.compression +
                    "\" is unknown; known: none, bf16, int8, int4, topk, sign");
}

std::string compression_text(const CommSection& comm, int shards) {
  if (comm.compression == "none") return comm.compression;
  std::ostringstream text;
  text << comm.compression;
  if (comm.compression == "topk") text << " of " << comm.keep;
  text << " in " << groups_of(comm, shards) << " groups";
  return text.str();
}

int groups_of(const CommSection& comm, int shards) { return comm.groups > 0 ? static_cast<int>(comm.groups) : shards; }

}  // namespace ballast
