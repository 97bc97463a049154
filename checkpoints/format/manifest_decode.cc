// Implements decode_manifest. The order is the point: digest, JSON, version, then members.
#include <set>
#include <string_view>
#include <utility>

#include "checkpoints/format/digest.h"
#include "checkpoints/format/json.h"
#include "checkpoints/format/manifest.h"
#include "checkpoints/format/names.h"
#include "checkpoints/format/regions.h"
#include "compute/error.h"

namespace ballast {
namespace {

// The last bytes of the text, in every version of the format: "self": "<32 digits>"}\n
constexpr std::string_view kSelfBegin = "\"self\": \"";
constexpr std::string_view kSelfEnd = "\"}\n";
constexpr std::size_t kSelfBytes = kSelfBegin.size() + kDigestDigits + kSelfEnd.size();

void check_self_digest(std::string_view text, const std::string& path) {
  const bool framed = text.size() > kSelfBytes && text.ends_with(kSelfEnd) &&
                      text.substr(text.size() - kSelfBytes).starts_with(kSelfBegin);
  if (!framed) throw DataError(path + ": damaged: it does not end in its own digest");
  const std::string_view body = text.substr(0, text.size() - kSelfBytes);
  const std::string_view digest = text.substr(body.size() + kSelfBegin.size(), kDigestDigits);
  if (digest_of(body) != digest) throw DataError(path + ": damaged: its digest differs");
}

// Returns whether members that we do not know may be there.
bool check_version(const JsonView& manifest, const std::string& path) {
  const JsonView format = manifest.member("format");
  const std::int64_t major = format.member("major").number();
  const std::int64_t minor = format.member("minor").number();
  if (major > kFormatMajor) {
    throw Error(path + ": written in checkpoint format " + std::to_string(major) + "." + std::to_string(minor) +
                    ", this program reads up to " + std::to_string(kFormatMajor) + "; use a newer Ballast",
                ExitCode::kVersion);
  }
  const JsonView features = manifest.member("required_features");
  if (features.array_size() > 0) {
    throw Error(path + ": needs a feature that this program does not have ('" + features.element(0).text() +
                    "'); use a newer Ballast",
                ExitCode::kVersion);
  }
  if (major < 1) format.fail("is not a version that ever was");
  return minor > kFormatMinor;
}

std::vector<Checkpoint::StoredFile> decode_files(const JsonView& rows) {
  const std::vector<std::string> names = {kWeightsFile, kOptimizerFile, kStateFile};
  if (rows.array_size() != names.size()) rows.fail("does not list weights.h5, optimizer.h5 and state");
  std::vector<Checkpoint::StoredFile> files;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const JsonView row = rows.element(i);
    row.require_members({"name", "size", "digest"});
    if (row.member("name").text() != names[i]) row.fail("is not " + names[i]);
    files.push_back({names[i], row.member("size").number(), row.member("digest").digest()});
  }
  return files;
}

TensorSpec decode_spec(const JsonView& row) {
  row.require_members({"name", "shape", "dtype", "file", "offset", "bytes", "segments"});
  const std::string name = row.member("name").text();
  if (!is_tensor_name(name)) row.fail("has a name that is not allowed");
  if (row.member("dtype").text() != "f32") row.fail("is not of type f32");
  const auto file = tensor_file_named(row.member("file").text());
  if (!file) row.fail("is in a file that is neither weights.h5 nor optimizer.h5");
  const JsonView shape = row.member("shape");
  if (shape.array_size() > kMaxRank) shape.fail("has more than 8 dimensions");
  std::vector<std::int64_t> dims;
  for (std::size_t axis = 0; axis < shape.array_size(); ++axis) dims.push_back(shape.element(axis).number());
  return {name, Shape(std::move(dims)), *file};
}

// The number of elements, once it is sure that neither it nor the number of bytes overflows.
std::int64_t checked_elements(const JsonView& row, const Shape& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape.dims()) {
    if (__builtin_mul_overflow(elements, dim, &elements)) row.fail("is impossibly large");
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(elements, std::int64_t{sizeof(float)}, &bytes)) row.fail("is impossibly large");
  if (row.member("bytes").number() != bytes) row.fail("has a shape and a number of bytes that contradict each other");
  const std::int64_t offset = row.member("offset").number(INT64_MAX - bytes);
  if (bytes == 0 && offset != 0) row.fail("has no elements, yet an offset");
  return elements;
}

void decode_segments(const JsonView& row, int tensor, std::int64_t elements,
                     std::vector<Checkpoint::Segment>& segments) {
  const JsonView list = row.member("segments");
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < list.array_size(); ++i) {
    const JsonView pair = list.element(i);
    if (pair.array_size() != 2) pair.fail("is not a pair of end and digest");
    const std::int64_t end = pair.element(0).number(elements);
    if (end <= begin || end - begin > kSegmentElements) pair.fail("is empty or too long");
    segments.push_back({tensor, begin, end, pair.element(1).digest()});
    begin = end;
  }
  if (begin != elements) list.fail("leave a hole");
}

void decode_tensors(const JsonView& rows, Manifest& manifest) {
  std::set<std::pair<TensorFile, std::string>> seen;
  for (std::size_t i = 0; i < rows.array_size(); ++i) {
    const JsonView row = rows.element(i);
    TensorSpec tensor = decode_spec(row);
    if (!seen.emplace(tensor.file, tensor.name).second) row.fail("has the name of another tensor");
    const std::int64_t elements = checked_elements(row, tensor.shape);
    decode_segments(row, static_cast<int>(i), elements, manifest.segments);
    manifest.offsets.push_back(row.member("offset").number());
    manifest.tensors.push_back(std::move(tensor));
  }
}

}  // namespace

Manifest decode_manifest(const std::string& text, const std::string& path) {
  check_self_digest(text, path);
  const nlohmann::json json = parse_json(text, path);
  const JsonView view(json, path + ":");
  if (!check_version(view, path)) {
    view.require_members({"format", "required_features", "step", "files", "tensors", "self"});
    view.member("format").require_members({"major", "minor"});
  }
  Manifest manifest;
  manifest.step = view.member("step").number(kMaxStep);
  manifest.files = decode_files(view.member("files"));
  decode_tensors(view.member("tensors"), manifest);
  for (std::size_t i = 0; i < kTensorFiles.size(); ++i) {
    static_cast<void>(
        metadata_ranges(manifest.tensors, manifest.offsets, kTensorFiles[i], manifest.files[i].size, path));
  }
  return manifest;
}

}  // namespace ballast
