#include "runtime/state_tensors.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "runtime/optimizer.h"

namespace ballast {

TensorNames names_of_group(int group) {
  const std::string prefix = "groups/" + std::to_string(group) + "/";
  return {.values = prefix + "values/", .states = prefix};
}

StateTensors::StateTensors(const ParameterTable& parameters, const JobConfig& config, int shards) {
  const int groups = groups_of(config.comm, shards);
  const bool errors = coding_of(config.comm).leaves_errors();
  add_all("", parameters, TensorFile::kWeights);
  if (config.outer.every > 0) {
    if (config.outer.momentum > 0.0) add_trained("outer/momentum/", parameters);
    if (errors) add_trained("outer/error/", parameters);
    add_groups(parameters, config, groups);
  } else {
    for (const std::string& state : make_optimizer(config.optimizer)->states()) add_trained(state + "/", parameters);
  }
  for (int group = 0; errors && group < groups; ++group) {
    add_trained("error/" + std::to_string(group) + "/", parameters);
  }
}

void StateTensors::add_groups(const ParameterTable& parameters, const JobConfig& config, int groups) {
  for (int group = 0; group < groups; ++group) {
    const TensorNames names = names_of_group(group);
    add_all(names.values, parameters, TensorFile::kOptimizer);
    for (const std::string& state : make_optimizer(config.optimizer)->states()) {
      add_trained(names.states + state + "/", parameters);
    }
  }
}

void StateTensors::add(const std::string& name, const Shape& shape, TensorFile file) {
  numbers_.emplace(name, static_cast<int>(specs_.size()));
  specs_.push_back({name, shape, file});
}

void StateTensors::add_all(const std::string& prefix, const ParameterTable& parameters, TensorFile file) {
  for (const Parameter& parameter : parameters.all()) add(prefix + parameter.name, parameter.shape, file);
}

void StateTensors::add_trained(const std::string& prefix, const ParameterTable& parameters) {
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.kind == ParameterKind::kTrained)
      add(prefix + parameter.name, parameter.shape, TensorFile::kOptimizer);
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

namespace {

template <typename Wanted>
void append(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin, DeviceSpan values,
            const Wanted& wanted, std::vector<NamedPiece>& pieces) {
  const std::int64_t end = begin + values.size;
  const auto ends_before = [begin](const Parameter& p) { return p.offset + p.size <= begin; };
  auto parameter = std::ranges::partition_point(parameters.all(), ends_before);
  for (; parameter != parameters.all().end() && parameter->offset < end; ++parameter) {
    if (!wanted(*parameter)) continue;
    const std::int64_t first = std::max(begin, parameter->offset);
    const std::int64_t last = std::min(end, parameter->offset + parameter->size);
    pieces.push_back(
        {prefix + parameter->name, first - parameter->offset, values.subspan(first - begin, last - first)});
  }
}

}  // namespace

void append_pieces(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin, DeviceSpan values,
                   std::vector<NamedPiece>& pieces) {
  append(
      prefix, parameters, begin, values, [](const Parameter&) { return true; }, pieces);
}

void append_trained_pieces(const std::string& prefix, const ParameterTable& parameters, std::int64_t begin,
                           DeviceSpan values, std::vector<NamedPiece>& pieces) {
  append(
      prefix, parameters, begin, values, [](const Parameter& p) { return p.kind == ParameterKind::kTrained; }, pieces);
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

std::string outer_text(const JobConfig& config, int shards) {
  if (config.outer.every == 0) return "none";
  std::ostringstream text;
  text << "every " << config.outer.every << " steps in " << groups_of(config.comm, shards) << " groups, "
       << config.outer.fragments << " fragments, delay " << config.outer.delay;
  return text.str();
}

int groups_of(const CommSection& comm, int shards) { return comm.groups > 0 ? static_cast<int>(comm.groups) : shards; }

}  // namespace ballast
