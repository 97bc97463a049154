#include "tests/checkpoints/example_job.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "compute/error.h"
#include "tests/support/thread_workers.h"

namespace ballast {

TemporaryDirectory::TemporaryDirectory(Storage storage) {
  const std::filesystem::path memory = "/dev/shm";
  const bool in_memory = storage == Storage::kMemory && std::filesystem::is_directory(memory);
  std::string pattern =
      ((in_memory ? memory : std::filesystem::temp_directory_path()) / "checkpoints-test-XXXXXX").string();
  require(::mkdtemp(pattern.data()) != nullptr, "no temporary directory");
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ExampleJob ExampleJob::odd_sizes() {
  return {{{"embedding.weight", {1031, 1201}},
           {"blocks.0.weight", {7, 11, 13}},
           {"blocks.0.bias", {3}},
           {"scale", {}},
           {"nothing", {0, 5}},
           {"m/embedding.weight", {1031, 1201}, TensorFile::kOptimizer},
           {"m/blocks.0.weight", {7, 11, 13}, TensorFile::kOptimizer},
           {"step_count", {1}, TensorFile::kOptimizer}}};
}

ExampleJob ExampleJob::small() {
  return {{{"weight", {3, 5}}, {"bias", {1}}, {"m/weight", {3, 5}, TensorFile::kOptimizer}}};
}

float ExampleJob::value(int tensor, std::int64_t element, std::int64_t step) {
  return static_cast<float>((element * 31 + step * 7 + tensor) % 65521) / 8.0F - 1000.0F;
}

TrainingState ExampleJob::state(std::int64_t step) {
  TrainingState state;
  state.step = step;
  state.samples_seen = step * 64;
  state.seed = 0xfedcba9876543210;
  state.shards = 4;
  state.config = "[job]\nsteps = 100\n";
  state.numbers = {{"best", std::numeric_limits<double>::infinity()}, {"loss", 0.1}};
  state.texts = {{"data", "sha"}, {"empty", ""}, {"bytes", std::string("\0\n\xff", 3)}};
  return state;
}

std::vector<ExampleJob::Range> ExampleJob::part(int rank, int workers) const {
  std::int64_t all = 0, before = 0;
  for (const TensorSpec& tensor : tensors) all += tensor.shape.elements();
  const std::int64_t first = all * rank / workers, last = all * (rank + 1) / workers;
  std::vector<Range> ranges;
  for (int i = 0; i < static_cast<int>(tensors.size()); ++i) {
    const std::int64_t elements = tensors[static_cast<std::size_t>(i)].shape.elements();
    const std::int64_t begin = std::clamp(first - before, std::int64_t{0}, elements);
    const std::int64_t end = std::clamp(last - before, std::int64_t{0}, elements);
    if (begin < end) ranges.push_back({i, begin, end});
    before += elements;
  }
  return ranges;
}

void ExampleJob::start(CheckpointWriter& writer, Communicator& group, std::int64_t step) const {
  std::vector<std::vector<float>> memory;
  std::vector<ConstTensorPiece> pieces;
  for (const Range& range : part(group.rank(), group.size())) {
    std::vector<float> values;
    for (std::int64_t i = range.begin; i < range.end; ++i) values.push_back(value(range.tensor, i, step));
    memory.push_back(std::move(values));
    pieces.push_back({range.tensor, range.begin, device_span(memory.back())});
  }
  writer.start(tensors, pieces, state(step), host_backend());
}

SaveResult ExampleJob::save(CheckpointWriter& writer, Communicator& group, std::int64_t step) const {
  start(writer, group, step);
  const auto result = writer.finish();
  require(result.has_value(), "a started save has no result");
  return *result;
}

SaveResult ExampleJob::save_alone(FileSystem& files, const std::string& directory, std::int64_t step, int keep) const {
  SaveResult result;
  run_workers(1, [&](Communicator& group) {
    CheckpointWriter writer(files, group, {.directory = directory, .keep = keep});
    result = save(writer, group, step);
  });
  return result;
}

std::int64_t ExampleJob::wrong_values(const Checkpoint& checkpoint, int rank, int workers, std::int64_t step) const {
  const std::vector<Range> ranges = part(rank, workers);
  std::vector<std::vector<float>> memory;
  std::vector<HostPiece> pieces;
  for (const Range& range : ranges) {
    memory.emplace_back(static_cast<std::size_t>(range.end - range.begin), -1.0F);
    pieces.push_back({range.tensor, range.begin, memory.back()});
  }
  checkpoint.read(pieces);
  std::int64_t wrong = 0;
  for (std::size_t p = 0; p < ranges.size(); ++p) {
    for (std::int64_t i = ranges[p].begin; i < ranges[p].end; ++i) {
      wrong += memory[p][static_cast<std::size_t>(i - ranges[p].begin)] != value(ranges[p].tensor, i, step) ? 1 : 0;
    }
  }
  return wrong;
}

Backend& host_backend() {
  thread_local const std::unique_ptr<Backend> backend = make_backend({.name = "cpu", .threads = 1});
  return *backend;
}

ConstDeviceSpan device_span(std::span<const float> values) {
  return {values.data(), static_cast<std::int64_t>(values.size()), DType::kF32};
}

std::string fault_of(FileSystem& files, const ExampleJob& job, const std::string& directory, std::int64_t step) {
  try {
    const Checkpoint checkpoint = Checkpoint::open(files, directory + "/" + checkpoint_name(step));
    checkpoint.verify();
    require_same_tensors(checkpoint, job.tensors);
    return job.wrong_values(checkpoint, 0, 1, step) == 0 ? "" : "wrong values";
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::optional<Checkpoint> newest_alone(const std::string& directory, std::vector<std::string>& warnings) {
  std::optional<Checkpoint> found;
  run_workers(1, [&](Communicator& group) {
    found = newest_checkpoint(real_file_system(), group, directory, warnings, Soundness::kVerified);
  });
  return found;
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

}  // namespace ballast
