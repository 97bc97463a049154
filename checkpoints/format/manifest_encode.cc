// Implements encode_manifest. One tensor per line, so that people can read and compare manifests; always the same bytes
// for the same Manifest.
#include <nlohmann/json.hpp>

#include "checkpoints/format/digest.h"
#include "checkpoints/format/manifest.h"
#include "checkpoints/format/names.h"
#include "checkpoints/format/regions.h"

namespace ballast {
namespace {

using Json = nlohmann::ordered_json;

std::string lines(const Json& rows) {
  std::string text = "[";
  for (std::size_t i = 0; i < rows.size(); ++i) text += (i == 0 ? "\n " : ",\n ") + rows[i].dump();
  return text + "\n]";
}

Json files_json(const Manifest& manifest) {
  Json rows = Json::array();
  for (const Checkpoint::StoredFile& file : manifest.files) {
    rows.push_back({{"name", file.name}, {"size", file.size}, {"digest", file.digest}});
  }
  return rows;
}

Json tensors_json(const Manifest& manifest) {
  Json rows = Json::array();
  std::size_t segment = 0;
  for (std::size_t i = 0; i < manifest.tensors.size(); ++i) {
    const TensorSpec& tensor = manifest.tensors[i];
    Json segments = Json::array();
    for (; segment < manifest.segments.size() && manifest.segments[segment].tensor == static_cast<int>(i); ++segment) {
      segments.push_back({manifest.segments[segment].end, manifest.segments[segment].digest});
    }
    rows.push_back({{"name", tensor.name},
                    {"shape", tensor.shape.dims()},
                    {"dtype", "f32"},
                    {"file", file_name_of(tensor.file)},
                    {"offset", manifest.offsets[i]},
                    {"bytes", bytes_of(tensor)},
                    {"segments", segments}});
  }
  return rows;
}

}  // namespace

std::string encode_manifest(const Manifest& manifest) {
  const Json format = {{"major", kFormatMajor}, {"minor", kFormatMinor}};
  std::string text = "{\"format\": " + format.dump();
  text += ",\n\"required_features\": []";
  text += ",\n\"step\": " + std::to_string(manifest.step);
  text += ",\n\"files\": " + lines(files_json(manifest));
  text += ",\n\"tensors\": " + lines(tensors_json(manifest));
  text += ",\n";
  return text + "\"self\": \"" + digest_of(text) + "\"}\n";
}

}  // namespace ballast
