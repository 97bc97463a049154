// Implements CheckpointWriter. A save has three phases: rank 0 prepares the files, every worker writes its pieces, rank
// 0 publishes. The work of a phase runs on each worker's own thread and neither communicates nor calls HDF5. Between
// phases, at step boundaries, the workers agree: first (poll) whether all are done, then whether all succeeded. So all
// of them always tell the same result.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <set>
#include <utility>

#include "checkpoints/checkpoint.h"
#include "checkpoints/format/digest.h"
#include "checkpoints/format/names.h"
#include "checkpoints/format/wire.h"
#include "checkpoints/writing/background_task.h"
#include "checkpoints/writing/lock.h"
#include "checkpoints/writing/publication.h"
#include "checkpoints/writing/snapshot.h"
#include "compute/error.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;

enum class Phase : std::uint8_t { kPrepare, kWrite, kPublish };

// What the workers agree on about one save. Offsets and directory come from rank 0.
struct Save {
  std::int64_t step = 0;
  std::vector<TensorSpec> tensors;
  std::vector<std::int64_t> offsets;
  std::string temporary;
  std::optional<Publication> publication;  // on rank 0 only
  Phase phase = Phase::kPrepare;
  double seconds = 0.0;  ///< of the phases behind us, of each its slowest worker's
};

/// How long training has stood still for a save: between begin() and end().
class Stall {
 public:
  void begin() { since_ = Clock::now(); }
  void end() {
    total_ = seconds();
    since_.reset();
  }
  void reset() {
    total_ = 0.0;
    begin();
  }
  [[nodiscard]] double seconds() const {
    return total_ + (since_ ? std::chrono::duration<double>(Clock::now() - *since_).count() : 0.0);
  }

 private:
  double total_ = 0.0;
  std::optional<Clock::time_point> since_;
};

class Stalled {
 public:
  explicit Stalled(Stall& stall) : stall_(stall) { stall_.begin(); }
  Stalled(const Stalled&) = delete;
  Stalled& operator=(const Stalled&) = delete;
  ~Stalled() { stall_.end(); }

 private:
  Stall& stall_;
};

// One worker's report about a phase.
struct Report {
  std::string error, result;
  double seconds = 0.0, stall_seconds = 0.0;

  [[nodiscard]] std::string packed() const {
    return pack({error, result, std::to_string(seconds), std::to_string(stall_seconds)});
  }
  static Report unpacked(const std::string& text) {
    const std::vector<std::string> parts = unpack(text);
    return {parts.at(0), parts.at(1), std::stod(parts.at(2)), std::stod(parts.at(3))};
  }
};

double slowest(const std::vector<Report>& reports, double Report::*seconds) {
  double most = 0.0;
  for (const Report& report : reports) most = std::max(most, report.*seconds);
  return most;
}

// The first failure by rank, and how many more there are.
std::string first_error(const std::vector<Report>& reports) {
  const auto failed = [](const Report& report) { return !report.error.empty(); };
  const auto first = std::find_if(reports.begin(), reports.end(), failed);
  if (first == reports.end()) return "";
  const auto more = std::count_if(first + 1, reports.end(), failed);
  return first->error + (more > 0 ? " (and " + std::to_string(more) + " more workers)" : "");
}

std::string pack_numbers(const std::vector<std::int64_t>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::int64_t)};
}

std::vector<std::int64_t> unpack_numbers(const std::string& packed) {
  std::vector<std::int64_t> numbers(packed.size() / sizeof(std::int64_t));
  if (!numbers.empty()) std::memcpy(numbers.data(), packed.data(), packed.size());
  return numbers;
}

void require_valid(const std::vector<TensorSpec>& tensors, const TrainingState& state) {
  require(state.step >= 0 && state.step <= kMaxStep, "the step of a checkpoint is not in [0, 10^12)");
  std::set<std::pair<TensorFile, std::string>> names;
  for (const TensorSpec& tensor : tensors) {
    if (!is_tensor_name(tensor.name)) throw Error("'" + tensor.name + "' cannot be the name of a stored tensor");
    if (tensor.shape.rank() > kMaxRank) throw Error("tensor '" + tensor.name + "' has more than 8 dimensions");
    if (!names.emplace(tensor.file, tensor.name).second) throw Error("there are two tensors '" + tensor.name + "'");
  }
}

}  // namespace

class CheckpointWriter::Impl {
 public:
  Impl(FileSystem& files, Communicator& group, const CheckpointWriterOptions& options)
      : files_(files), options_(options), group_(group.split(0)) {
    require(options.keep >= 1, "at least one checkpoint must be kept");
    open_directory();
  }

  void start(const std::vector<TensorSpec>& tensors, std::span<const ConstTensorPiece> pieces,
             const TrainingState& state, Backend& backend) {
    require_valid(tensors, state);
    const Stalled stalled(stall_);
    if (save_) complete();
    stall_.reset();
    agree_on_cover(tensors, pieces);
    save_.emplace();
    save_->step = state.step;
    save_->tensors = tensors;
    const std::string error = lay_out_together(state);
    if (!error.empty()) {
      conclude({.step = state.step, .message = error});
      return;
    }
    const std::string snapshot_error = take_snapshot(pieces, backend);
    task_.start(
        [this, snapshot_error](const std::stop_token&) {
          if (!snapshot_error.empty()) throw Error(snapshot_error);
          return save_->publication && !save_->publication->prepare() ? std::string("there already") : std::string();
        },
        options_.background && is_first());
    if (!options_.background) return complete();
    if (snapshot_.in_place()) {  // reading begins now, while nobody writes there
      task_.wait();
      advance();
    }
  }

  void wait_for_reads() {
    const Stalled stalled(stall_);
    if (save_ && save_->phase == Phase::kWrite && snapshot_.in_place()) task_.wait();
  }

  std::optional<SaveResult> poll() {
    const Stalled stalled(stall_);
    if (results_.empty() && save_) {
      std::int64_t done = task_.done() ? 1 : 0;
      group_->all_reduce({&done, 1}, Reduction::kMin);
      if (done == 1) advance();
    }
    return next_result();
  }

  std::optional<SaveResult> finish() {
    const Stalled stalled(stall_);
    if (save_) complete();
    return next_result();
  }

  void pin(const std::string& name, std::int64_t step) { pins_[name] = step; }

 private:
  [[nodiscard]] bool is_first() const { return group_->rank() == 0; }
  [[nodiscard]] std::string who() const { return "rank " + std::to_string(group_->rank()) + " on " + host_name(); }

  void open_directory();
  void agree_on_cover(const std::vector<TensorSpec>& tensors, std::span<const ConstTensorPiece> pieces);
  std::string lay_out_together(const TrainingState& state);
  std::string take_snapshot(std::span<const ConstTensorPiece> pieces, Backend& backend);
  void advance();
  void begin_writing();
  void begin_publishing(const std::vector<Report>& reports);
  std::string publish(std::vector<Checkpoint::Segment> segments, const Retention& retention);
  void conclude(SaveResult result);

  void complete() {
    while (save_) {
      task_.wait();
      advance();
    }
  }

  std::optional<SaveResult> next_result() {
    if (results_.empty()) return std::nullopt;
    SaveResult result = std::move(results_.front());
    results_.pop_front();
    return result;
  }

  FileSystem& files_;
  CheckpointWriterOptions options_;
  std::unique_ptr<Communicator> group_;  // of our own: our messages never meet those of training
  std::optional<DirectoryLock> lock_;    // on rank 0
  std::map<std::string, std::int64_t> pins_;
  std::deque<SaveResult> results_;      // not told yet
  std::optional<FileLayouts> layouts_;  // on rank 0: of the last save, mostly right for the next one
  Snapshot snapshot_;
  std::optional<Save> save_;  // the one under way
  Stall stall_;               // by it
  BackgroundTask task_;       // last: it stops before what it uses goes
};

// Rank 0 takes the directory; the others learn whether it could.
void CheckpointWriter::Impl::open_directory() {
  std::string outcome = pack({"", ""});
  if (is_first()) {
    try {
      make_directories(files_, options_.directory);
      lock_.emplace(options_.directory);
      remove_leftovers(files_, options_.directory);
    } catch (const Error& error) {
      outcome = pack({std::to_string(static_cast<int>(error.code())), error.what()});
    } catch (const std::exception& error) {
      outcome = pack({std::to_string(static_cast<int>(ExitCode::kInternal)), error.what()});
    }
  }
  const std::vector<std::string> parts = unpack(broadcast_string(*group_, outcome, 0));
  if (parts.at(0).empty()) return;
  const auto code = static_cast<ExitCode>(std::stoi(parts.at(0)));
  if (code == ExitCode::kConfig) throw ConfigError(parts.at(1));
  throw Error(parts.at(1), code);
}

// A hole would be zeros in a file that looks whole, so this is checked at every save. Every worker sees all ranges and
// throws alike.
void CheckpointWriter::Impl::agree_on_cover(const std::vector<TensorSpec>& tensors,
                                            std::span<const ConstTensorPiece> pieces) {
  std::vector<std::int64_t> mine;
  for (const ConstTensorPiece& piece : pieces) {
    mine.insert(mine.end(), {piece.tensor, piece.begin, piece.begin + piece.values.size});
  }
  std::vector<PieceRange> ranges;
  for (const std::string& packed : all_gather_strings(*group_, pack_numbers(mine))) {
    const std::vector<std::int64_t> numbers = unpack_numbers(packed);
    for (std::size_t i = 0; i + 2 < numbers.size(); i += 3)
      ranges.push_back({numbers[i], numbers[i + 1], numbers[i + 2]});
  }
  require_exact_cover(tensors, std::move(ranges));
}

// Returns the error, on every rank the same. HDF5 runs here, on the main thread of rank 0, in memory.
std::string CheckpointWriter::Impl::lay_out_together(const TrainingState& state) {
  std::string outcome;
  if (is_first()) {
    try {
      if (!layouts_ || layouts_->tensors != save_->tensors) layouts_.emplace(save_->tensors);
      save_->publication.emplace(files_, options_.directory, *layouts_, state);
      outcome = pack({"", save_->publication->temporary(), pack_numbers(layouts_->offsets)});
    } catch (const std::exception& error) {
      outcome = pack({who() + ": " + error.what(), "", ""});
    }
  }
  const std::vector<std::string> parts = unpack(broadcast_string(*group_, outcome, 0));
  save_->temporary = parts.at(1);
  save_->offsets = unpack_numbers(parts.at(2));
  return parts.at(0);
}

std::string CheckpointWriter::Impl::take_snapshot(std::span<const ConstTensorPiece> pieces, Backend& backend) {
  try {
    if (options_.copy || !backend.host_addressable()) {
      snapshot_.take(pieces, backend);
    } else {
      snapshot_.refer_to(pieces, backend);
    }
    return "";
  } catch (const std::bad_alloc&) {
    std::int64_t bytes = 0;
    for (const ConstTensorPiece& piece : pieces) bytes += piece.values.bytes();
    return "not enough memory for a snapshot of " + std::to_string(bytes >> 20) + " MiB";
  }
}

// Every worker is done with the phase: agree, and begin the next one.
void CheckpointWriter::Impl::advance() {
  task_.wait();
  const TaskReport& done = task_.report();
  const Report mine{done.error.empty() ? "" : who() + ": " + done.error, done.result, done.seconds, stall_.seconds()};
  std::vector<Report> reports;
  for (const std::string& text : all_gather_strings(*group_, mine.packed())) reports.push_back(Report::unpacked(text));

  save_->seconds += slowest(reports, &Report::seconds);
  SaveResult result{.step = save_->step,
                    .message = first_error(reports),
                    .seconds = save_->seconds,
                    .stall_seconds = slowest(reports, &Report::stall_seconds)};
  if (!result.message.empty()) {
    if (save_->publication) save_->publication->abandon();
    conclude(std::move(result));
  } else if (save_->phase == Phase::kPrepare && !reports.front().result.empty()) {
    result.ok = true;
    conclude(std::move(result));
  } else if (save_->phase == Phase::kPrepare) {
    begin_writing();
  } else if (save_->phase == Phase::kWrite) {
    begin_publishing(reports);
  } else {
    const std::vector<std::string> parts = unpack(reports.front().result);
    result.ok = true;
    result.bytes = std::stoll(parts.at(0));
    result.message = parts.at(1);
    conclude(std::move(result));
  }
}

void CheckpointWriter::Impl::begin_writing() {
  save_->phase = Phase::kWrite;
  snapshot_.complete();
  task_.start(
      [this](const std::stop_token& stop) {
        return pack_segments(snapshot_.write(files_, save_->temporary, save_->tensors, save_->offsets, stop));
      },
      options_.background);
}

void CheckpointWriter::Impl::begin_publishing(const std::vector<Report>& reports) {
  save_->phase = Phase::kPublish;
  std::vector<Checkpoint::Segment> segments;
  Retention retention{options_.keep, {}};
  if (is_first()) {
    for (const Report& report : reports) unpack_segments(report.result, segments);
    for (const auto& [name, step] : pins_) retention.pinned.insert(step);
  }
  task_.start([this, segments = std::move(segments),
               retention](const std::stop_token&) { return is_first() ? publish(segments, retention) : std::string(); },
              options_.background && is_first());
}

// An old checkpoint that cannot be removed does not make the new one any worse: it is only told.
std::string CheckpointWriter::Impl::publish(std::vector<Checkpoint::Segment> segments, const Retention& retention) {
  const std::int64_t bytes = save_->publication->publish(std::move(segments));
  std::string warning;
  try {
    remove_old_checkpoints(files_, options_.directory, save_->step, retention);
  } catch (const std::exception& error) {
    warning = std::string("saved, but an old checkpoint could not be removed: ") + error.what();
  }
  return pack({std::to_string(bytes), warning});
}

void CheckpointWriter::Impl::conclude(SaveResult result) {
  results_.push_back(std::move(result));
  save_.reset();
}

CheckpointWriter::CheckpointWriter(FileSystem& files, Communicator& group, const CheckpointWriterOptions& options)
    : impl_(std::make_unique<Impl>(files, group, options)) {}
CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::start(const std::vector<TensorSpec>& tensors, std::span<const ConstTensorPiece> pieces,
                             const TrainingState& state, Backend& backend) {
  impl_->start(tensors, pieces, state, backend);
}
void CheckpointWriter::wait_for_reads() { impl_->wait_for_reads(); }
std::optional<SaveResult> CheckpointWriter::poll() { return impl_->poll(); }
std::optional<SaveResult> CheckpointWriter::finish() { return impl_->finish(); }
void CheckpointWriter::pin(const std::string& name, std::int64_t step) { impl_->pin(name, step); }

}  // namespace ballast
