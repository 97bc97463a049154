#include "runtime/trainer.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <sstream>

#include "runtime/early_stopping.h"
#include "runtime/evaluator.h"
#include "runtime/reporter.h"
#include "runtime/resume.h"
#include "runtime/roof.h"
#include "runtime/same_facts.h"
#include "runtime/stop_request.h"
#include "runtime/supervision.h"
#include "runtime/threads.h"
#include "runtime/training_parts.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSecondsForRoof = 0.03;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Everything that a job decides before its first step.
struct Setup {
  std::optional<Checkpoint> resume;
  std::vector<std::string> warnings;
  JobLayout layout;
  std::unique_ptr<Backend> backend;
};

Setup prepare(const JobConfig& config, FileSystem& files, Communicator& world, const BackendMaker& make) {
  Setup setup;
  setup.resume = find_resume_point(files, world, config, setup.warnings);
  const ThreadChoice threads = threads_for_worker(world, config.compute.threads);
  if (!threads.warning.empty()) setup.warnings.push_back(threads.warning);
  const auto resumed_shards =
      setup.resume ? std::optional(static_cast<int>(setup.resume->state().shards)) : std::nullopt;
  setup.layout = layout_of(config, resumed_shards, world.size(), threads.threads);
  WorkerBackend chosen = make_worker_backend(world, config.compute, threads.threads, make);
  if (!chosen.warning.empty()) setup.warnings.push_back(chosen.warning);
  setup.backend = std::move(chosen.backend);
  return setup;
}

class Trainer {
 public:
  Trainer(const JobConfig& config, std::string config_text, Supervision& supervision, Observer& observer,
          FileSystem& files, Setup setup);
  RunResult run();

 private:
  void begin();
  void load_resume_point();
  void begin_step();
  [[nodiscard]] unsigned flags() const;
  [[nodiscard]] bool evaluation_due() const;
  [[nodiscard]] bool checkpoint_due() const;
  [[nodiscard]] bool meeting_due() const;
  StepOutcome take_step(bool statistics);
  void check_copies(Replica& replica);
  void validate();
  void save();
  void report_save(const std::optional<SaveResult>& result);
  RunResult finish(bool stopped);
  [[nodiscard]] TrainingState state() const;
  [[nodiscard]] Continuity continuity() const;
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] Reporter::Options reporter_options();
  [[nodiscard]] std::unique_ptr<RunFolder> run_folder() const;

  const JobConfig& config_;
  std::string config_text_;
  Communicator& world_;
  Observer& observer_;
  FileSystem& files_;
  FlightRecorder& recorder_;
  Setup setup_;
  StopSignals signals_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_save_ = Clock::now();

  TrainingParts parts_;
  std::int64_t step_ = 0, first_step_ = 0;
  CheckpointWriter writer_;
  std::optional<Reporter> reporter_;  ///< when it is known where training begins
  EarlyStopping early_;
  StepTotals totals_;
  double loss_ = 0.0;  // of the latest step
  EvaluationResult evaluation_;
  std::int64_t evaluated_step_ = -1;
  std::int64_t saved_step_ = -1;  // of the latest save that was started
  std::string save_failure_;      // of the latest save that failed, until one succeeds
};

Trainer::Trainer(const JobConfig& config, std::string config_text, Supervision& supervision, Observer& observer,
                 FileSystem& files, Setup setup)
    : config_(config),
      config_text_(std::move(config_text)),
      world_(supervision.world()),
      observer_(observer),
      files_(files),
      recorder_(supervision.recorder()),
      setup_(std::move(setup)),
      parts_(config, setup_.layout, world_, std::move(setup_.backend)),
      writer_(files, world_,
              {checkpoint_folder(config), static_cast<int>(config.checkpoint.keep), config.checkpoint.background,
               config.checkpoint.copy}),
      early_(config.evaluate.patience),
      totals_(setup_.layout.shards) {
  parts_.clock.record_in(recorder_);
}

RunResult Trainer::run() {
  begin();
  bool stopped = false;
  while (step_ < parts_.total_steps && !stopped && !early_.stop()) {
    begin_step();
    const bool statistics = reporter_->wants_statistics(step_ + 1);
    const StepOutcome outcome = take_step(statistics);
    reporter_->step(step_, loss_, outcome, parts_.plan.batch_size(step_ - 1), parts_.clock.take());
    if (statistics) reporter_->statistics(step_, parts_.replica().coordinator.statistics());
    if (evaluation_due()) validate();
    if (meeting_due()) report_save(writer_.poll());
    if (outcome.save || checkpoint_due()) save();
    stopped = outcome.stop;
  }
  return finish(stopped && step_ < parts_.total_steps);
}

/// One step of every copy of the weights that this worker trains. Where there are several copies, all workers know the
/// outcome, and ask to stop or to save, only when they meet.
StepOutcome Trainer::take_step(bool statistics) {
  const unsigned asked = flags();
  StepOutcome outcome;
  std::vector<double> norms;
  totals_.clear();
  for (const auto& replica : parts_.replicas) {
    replica->worker.compute_gradients(step_, totals_);
    check_copies(*replica);
    writer_.wait_for_reads();
    outcome = replica->coordinator.update(step_ + 1, totals_, parts_.outer ? 0 : asked, statistics);
    norms.push_back(outcome.gradient_norm);
  }
  ++step_;
  if (parts_.outer) {
    parts_.outer->step(step_, step_ == parts_.total_steps);
    if (meeting_due()) parts_.outer->meet(totals_, norms, asked, outcome);
  }
  if (meeting_due()) loss_ = totals_.mean_loss();
  return outcome;
}

void Trainer::begin() {
  require_same_facts(world_, {{"model", layout_digest(parts_.model.parameters())},
                              {"training data", parts_.data.train->fingerprint()},
                              {"validation data", parts_.data.validation->fingerprint()}});
  if (setup_.resume) load_resume_point();
  reporter_.emplace(observer_, run_folder(), parts_.model.parameters(), reporter_options());
  for (const std::string& text : setup_.warnings) reporter_->warning(text);
  reporter_->start(summary());
  if (!parts_.buckets.note.empty()) reporter_->notice(parts_.buckets.note);
  if (const std::string note = parts_.replica().reduction->note(); !note.empty()) reporter_->notice(note);
  if (!setup_.resume) {
    parts_.initialise(static_cast<std::uint64_t>(config_.job.seed));
    return;
  }
  reporter_->notice("resumed from step " + std::to_string(step_) + " (" + setup_.resume->directory() + ")");
}

// Every byte is read once: whether a checkpoint is sound is seen while it is loaded. Where it isn't, the one before is.
void Trainer::load_resume_point() {
  std::vector<std::string> passed_over;
  while (true) {
    require_continuable(setup_.resume->state(), continuity());
    const std::string damage = parts_.load(*setup_.resume, world_);
    if (damage.empty()) break;
    setup_.resume = older_resume_point(files_, world_, config_, *setup_.resume, damage, passed_over);
  }
  setup_.warnings.insert(setup_.warnings.end(), passed_over.begin(), passed_over.end());
  const Checkpoint& from = *setup_.resume;
  step_ = first_step_ = saved_step_ = from.step();
  early_.read_from(from.state());
  writer_.pin("resumed", step_);
  if (early_.active() && early_.best_step() > 0) writer_.pin("best", early_.best_step());
}

// Workers may start at different times: files are opened, kernels are made and memory is touched.
void Trainer::begin_step() {
  recorder_.begin_step(step_ + 1);
  if (step_ > first_step_) recorder_.allow(1);
}

void Trainer::check_copies(Replica& replica) {
  if (config_.comm.sharding == "values") return;  // there are none
  const std::int64_t every = config_.watch.values;
  if (every > 0 && (step_ + 1) % every == 0 && replica.copies.needed()) replica.copies.run(step_ + 1);
}

unsigned Trainer::flags() const {
  unsigned flags = signals_.requested() ? kFlagStop : 0U;
  if (world_.rank() != 0) return flags;  // one clock decides
  if (config_.job.stop_after > 0 && seconds_since(start_) >= config_.job.stop_after) flags |= kFlagStop;
  const double every = config_.checkpoint.every_seconds;
  if (every > 0 && seconds_since(last_save_) >= every) flags |= kFlagSave;
  return flags;
}

bool Trainer::evaluation_due() const { return config_.evaluate.every > 0 && step_ % config_.evaluate.every == 0; }

bool Trainer::checkpoint_due() const {
  const bool best = early_.active() && early_.best_step() == step_;
  return best || (config_.checkpoint.every_steps > 0 && step_ % config_.checkpoint.every_steps == 0);
}

/// Behind a step: whether all workers tell each other what they know. Always, unless groups train copies of their own.
bool Trainer::meeting_due() const {
  return !parts_.outer || reporter_->wants_step(step_) || evaluation_due() || checkpoint_due();
}

void Trainer::validate() {
  if (parts_.data.validation->size() == 0 || evaluated_step_ == step_) return;
  recorder_.enter("evaluation");
  if (parts_.outer) parts_.outer->lend_values();
  evaluation_ = evaluate(parts_.model, parts_.replica().values(), *parts_.data.validation, setup_.layout.micro,
                         config_.evaluate.batches * config_.batch.size, world_);
  if (parts_.outer) parts_.outer->give_back();
  evaluated_step_ = step_;
  reporter_->evaluation(step_, evaluation_);
  if (early_.improved(step_, evaluation_.loss) && early_.active()) writer_.pin("best", step_);
}

// The first poll() after this is a step later: by then a device has downloaded the snapshot beside that step.
void Trainer::save() {
  if (saved_step_ == step_) return;
  const SlowPhase slow(recorder_, "save", kSlowPatience);
  report_save(writer_.finish());
  if (parts_.outer) parts_.outer->settle();
  writer_.start(parts_.tensors.specs(), readable(parts_.pieces()), state(), *parts_.backend);
  saved_step_ = step_;
  last_save_ = Clock::now();
  if (!config_.checkpoint.background) report_save(writer_.finish());
}

void Trainer::report_save(const std::optional<SaveResult>& result) {
  if (!result) return;
  save_failure_ = result->ok ? "" : result->message;
  reporter_->checkpoint(*result);
}

RunResult Trainer::finish(bool stopped) {
  if (!stopped) validate();
  if (!stopped && early_.stop()) {
    reporter_->notice("stopped early: no better validation loss since step " + std::to_string(early_.best_step()));
  }
  save();
  const SlowPhase slow(recorder_, "save", kSlowPatience);
  report_save(writer_.finish());
  if (!save_failure_.empty()) {
    throw Error("the last checkpoint (step " + std::to_string(step_) + ") could not be written: " + save_failure_,
                ExitCode::kIo);
  }
  if (stopped)
    reporter_->notice("stopped after step " + std::to_string(step_) +
                      ", checkpoint saved: run the same command to go on");
  RunResult result{.code = stopped ? ExitCode::kStopped : ExitCode::kOk, .step = step_, .loss = loss_};
  if (evaluated_step_ >= 0) {
    result.validation_loss = evaluation_.loss;
    result.validation_accuracy = evaluation_.accuracy;
  }
  return result;
}

TrainingState Trainer::state() const {
  TrainingState state;
  state.step = step_;
  const std::int64_t epochs = step_ / parts_.plan.steps_per_epoch();
  const std::int64_t rest = step_ % parts_.plan.steps_per_epoch();
  state.samples_seen = epochs * parts_.data.train->size() + rest * config_.batch.size;
  state.config = config_text_;
  continuity().write_to(state);
  early_.write_to(state);
  if (parts_.outer) parts_.outer->write_to(state);
  return state;
}

Continuity Trainer::continuity() const {
  return {.seed = static_cast<std::uint64_t>(config_.job.seed),
          .shards = setup_.layout.shards,
          .batch = config_.batch.size,
          .micro = setup_.layout.micro,
          .order = {config_.data.shuffle, config_.data.chunk},
          .data = parts_.data.train->fingerprint(),
          .compression = compression_text(config_.comm, setup_.layout.shards),
          .outer = outer_text(config_, setup_.layout.shards)};
}

std::string Trainer::summary() const {
  std::ostringstream text;
  text << config_.model.name << ": " << parts_.model.parameters().trained_elements() << " weights, "
       << config_.precision.compute << "; " << world_.size() << (world_.size() == 1 ? " worker" : " workers") << " ("
       << parts_.backend->description() << "), batch " << config_.batch.size << " in " << setup_.layout.shards
       << (setup_.layout.shards == 1 ? " shard" : " shards") << "; " << parts_.data.train->size() << " training and "
       << parts_.data.validation->size() << " validation samples, " << parts_.plan.steps_per_epoch()
       << " steps per epoch; " << parts_.total_steps << " steps";
  return text.str();
}

// Collective: measures the machine.
Reporter::Options Trainer::reporter_options() {
  const bool tokens = parts_.model.input().kind == InputSpec::Kind::kTokens;
  const Roof roof = measure_roof(*parts_.backend, world_, parts_.model.compute_type(), kSecondsForRoof);
  return {.every = config_.log.every,
          .statistics = config_.log.statistics > 0 ? config_.log.statistics : config_.log.every,
          .first_step = setup_.resume ? setup_.resume->step() : 0,
          .total_steps = parts_.total_steps,
          .items_per_sample = tokens ? static_cast<double>(parts_.model.input().targets_per_sample) : 1.0,
          .item = tokens ? "tokens" : "samples",
          .flops_per_sample = parts_.model.flops_per_sample(),
          .matmul_flops = roof.matmul_flops * world_.size()};
}

std::unique_ptr<RunFolder> Trainer::run_folder() const {
  if (world_.rank() != 0) return nullptr;
  return std::make_unique<RunFolder>(config_.job.dir, config_text_, setup_.resume ? setup_.resume->step() : 0);
}

}  // namespace

RunResult train(const JobConfig& config, const std::string& config_text, Communicator& world, Observer& observer,
                const BackendMaker& make) {
  FileSystem& files = real_file_system();
  Supervision supervision(world, {.folder = config.job.dir + "/flight",
                                  .timeout_seconds = config.watch.timeout,
                                  .collectives = config.watch.collectives});
  Setup setup = prepare(config, files, supervision.world(), make);
  if (!supervision.problem().empty())
    setup.warnings.push_back(supervision.problem() + "; hangs will be told without it");
  Trainer trainer(config, config_text, supervision, observer, files, std::move(setup));
  return trainer.run();
}

}  // namespace ballast
