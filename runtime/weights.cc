#include "runtime/weights.h"

#include <map>
#include <string>
#include <vector>

#include "compute/error.h"

namespace ballast {

Weights::Weights(const Checkpoint& checkpoint, const Model& model, Backend& backend) {
  const ParameterTable& parameters = model.parameters();
  values_ = Buffer(backend, parameters.flat_size(), DType::kF32);
  backend.zero(values_.span());
  std::map<std::string, int> stored;
  for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    const TensorSpec& tensor = checkpoint.tensors()[i];
    if (tensor.file == TensorFile::kWeights) stored[tensor.name] = static_cast<int>(i);
  }
  std::vector<TensorPiece> pieces;
  for (const Parameter& parameter : parameters.all()) {
    const auto found = stored.find(parameter.name);
    const std::string where = checkpoint.directory() + ": tensor " + parameter.name;
    if (found == stored.end()) throw DataError(where + " is missing: the checkpoint is of another model");
    const Shape& shape = checkpoint.tensors()[static_cast<std::size_t>(found->second)].shape;
    if (shape != parameter.shape) {
      throw DataError(where + " has shape " + shape.to_string() + ", the model needs " + parameter.shape.to_string());
    }
    pieces.push_back({found->second, 0, values_.span().subspan(parameter.offset, parameter.size)});
  }
  checkpoint.read(pieces, backend);
  if (model.compute_type() != DType::kBF16) return;
  compute_values_ = Buffer(backend, parameters.flat_size(), DType::kBF16);
  backend.convert(values_.span(), compute_values_.span());
}

}  // namespace ballast
