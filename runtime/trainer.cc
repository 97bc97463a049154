#include "runtime/trainer.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <sstream>

#include "models/model.h"
#include "runtime/coordinator.h"
#include "runtime/early_stopping.h"
#include "runtime/evaluator.h"
#include "runtime/reporter.h"
#include "runtime/resume.h"
#include "runtime/stop_request.h"
#include "runtime/threads.h"
#include "runtime/worker.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Everything that a job decides before its first step.
struct Setup {
  std::optional<Checkpoint> resume;
  std::vector<std::string> warnings;
  int shards = 1;
  std::int64_t micro = 1;
  ThreadChoice threads;
};

int shards_of_job(const JobConfig& config, const std::optional<Checkpoint>& resume, int workers) {
  if (config.batch.shards > 0) return static_cast<int>(config.batch.shards);
  if (resume) return static_cast<int>(resume->state().shards);
  return static_cast<int>(std::bit_ceil(static_cast<unsigned>(workers)));
}

Setup prepare(const JobConfig& config, FileSystem& files, Communicator& world) {
  Setup setup;
  setup.resume = find_resume_point(files, world, config, setup.warnings);
  setup.shards = shards_of_job(config, setup.resume, world.size());
  const std::int64_t shard = (config.batch.size + setup.shards - 1) / setup.shards;
  setup.micro = config.batch.micro > 0 ? std::min(config.batch.micro, shard) : shard;
  setup.threads = threads_for_worker(world, config.compute.threads);
  if (!setup.threads.warning.empty()) setup.warnings.push_back(setup.threads.warning);
  return setup;
}

std::int64_t total_steps(const JobConfig& config, const BatchPlan& plan) {
  if (config.job.steps > 0) return config.job.steps;
  return std::max<std::int64_t>(1, std::llround(config.job.epochs * static_cast<double>(plan.steps_per_epoch())));
}

SplitAllReduceOptions reduction_options(const JobConfig& config, int shards) {
  return {.shards = shards,
          .coordinators = static_cast<int>(config.comm.coordinators),
          .bucket_bytes = static_cast<std::int64_t>(config.comm.bucket_mib * (1 << 20)),
          .share_memory = config.comm.share_memory};
}

DType compute_type(const JobConfig& config) { return dtype_named(config.precision.compute); }

class Trainer {
 public:
  Trainer(const JobConfig& config, std::string config_text, Communicator& world, Observer& observer, FileSystem& files,
          Setup setup);
  RunResult run();

 private:
  void begin();
  [[nodiscard]] unsigned flags() const;
  [[nodiscard]] bool evaluation_due() const;
  [[nodiscard]] bool checkpoint_due(const StepOutcome& outcome) const;
  void validate();
  void save();
  void report_save(const std::optional<SaveResult>& result);
  RunResult finish(bool stopped);
  [[nodiscard]] TrainingState state() const;
  [[nodiscard]] ParameterMemory values() const { return {reduction_.values(), reduction_.compute_values(), {}}; }
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] Reporter::Options reporter_options() const;
  [[nodiscard]] std::unique_ptr<RunFolder> run_folder() const;

  const JobConfig& config_;
  std::string config_text_;
  Communicator& world_;
  Setup setup_;
  StopSignals signals_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_save_ = Clock::now();

  std::unique_ptr<Backend> backend_;
  Model model_;
  Datasets data_;
  BatchPlan plan_;
  std::int64_t total_steps_;
  std::int64_t step_ = 0;
  SplitAllReduce reduction_;
  Worker worker_;
  Coordinator coordinator_;
  CheckpointWriter writer_;
  Reporter reporter_;
  EarlyStopping early_;
  StepTotals totals_;
  double loss_ = 0.0;  // of the latest step
  EvaluationResult evaluation_;
  std::int64_t evaluated_step_ = -1;
  std::int64_t saved_step_ = -1;  // of the latest save that was started
  std::string save_failure_;      // of the latest save that failed, until one succeeds
};

Trainer::Trainer(const JobConfig& config, std::string config_text, Communicator& world, Observer& observer,
                 FileSystem& files, Setup setup)
    : config_(config),
      config_text_(std::move(config_text)),
      world_(world),
      setup_(std::move(setup)),
      backend_(make_backend({config.compute.backend, setup_.threads.threads})),
      model_(build_model(config.model, compute_type(config), setup_.micro)),
      data_(open_datasets(config.data, model_.input(), static_cast<std::uint64_t>(config.job.seed))),
      plan_(data_.train->size(), config.batch.size, setup_.shards, config.data.shuffle,
            static_cast<std::uint64_t>(config.job.seed), config.data.train),
      total_steps_(total_steps(config, plan_)),
      reduction_(world, *backend_, model_.parameters().flat_size(), blocks_of(model_.parameters()),
                 compute_type(config) == DType::kBF16, reduction_options(config, setup_.shards)),
      worker_(model_, reduction_, *data_.train, plan_, setup_.micro),
      coordinator_(model_.parameters(), reduction_, *backend_, world, config, total_steps_),
      writer_(files, world,
              {checkpoint_folder(config), static_cast<int>(config.checkpoint.keep), config.checkpoint.background}),
      reporter_(observer, run_folder(), model_.parameters(), reporter_options()),
      early_(config.evaluate.patience),
      totals_(setup_.shards) {}

RunResult Trainer::run() {
  begin();
  bool stopped = false;
  while (step_ < total_steps_ && !stopped && !early_.stop()) {
    worker_.compute_gradients(step_, totals_);
    const bool statistics = reporter_.wants_statistics(step_ + 1);
    const StepOutcome outcome = coordinator_.update(step_ + 1, totals_, flags(), statistics);
    loss_ = totals_.mean_loss();
    reporter_.step(step_ + 1, loss_, outcome, plan_.batch_size(step_));
    ++step_;
    if (statistics) reporter_.statistics(step_, coordinator_.statistics());
    if (evaluation_due()) validate();
    if (checkpoint_due(outcome)) save();
    report_save(writer_.poll());
    stopped = outcome.stop;
  }
  return finish(stopped && step_ < total_steps_);
}

void Trainer::begin() {
  model_.allocate(*backend_, static_cast<std::uint64_t>(config_.job.seed));
  for (const std::string& text : setup_.warnings) reporter_.warning(text);
  reporter_.start(summary());
  if (!setup_.resume) {
    coordinator_.initialise(static_cast<std::uint64_t>(config_.job.seed));
    return;
  }
  const Checkpoint& from = *setup_.resume;
  const TrainingState now = state();
  require_continuable(from.state(), {.seed = now.seed,
                                     .shards = now.shards,
                                     .batch = config_.batch.size,
                                     .micro = setup_.micro,
                                     .data = data_.train->fingerprint()});
  coordinator_.load(from);
  step_ = saved_step_ = from.step();
  early_.read_from(from.state());
  writer_.pin("resumed", step_);
  if (early_.active() && early_.best_step() > 0) writer_.pin("best", early_.best_step());
  reporter_.notice("resumed from step " + std::to_string(step_) + " (" + from.directory() + ")");
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

bool Trainer::checkpoint_due(const StepOutcome& outcome) const {
  const bool best = early_.active() && early_.best_step() == step_;
  const bool turn = config_.checkpoint.every_steps > 0 && step_ % config_.checkpoint.every_steps == 0;
  return outcome.save || best || turn;
}

void Trainer::validate() {
  if (data_.validation->size() == 0 || evaluated_step_ == step_) return;
  evaluation_ = evaluate(model_, values(), *data_.validation, setup_.micro,
                         config_.evaluate.batches * config_.batch.size, world_);
  evaluated_step_ = step_;
  reporter_.evaluation(step_, evaluation_);
  if (early_.improved(step_, evaluation_.loss) && early_.active()) writer_.pin("best", step_);
}

void Trainer::save() {
  if (saved_step_ == step_) return;
  report_save(writer_.finish());
  writer_.start(coordinator_.tensors(), coordinator_.pieces(), state());
  saved_step_ = step_;
  last_save_ = Clock::now();
}

void Trainer::report_save(const std::optional<SaveResult>& result) {
  if (!result) return;
  save_failure_ = result->ok ? "" : result->message;
  reporter_.checkpoint(*result);
}

RunResult Trainer::finish(bool stopped) {
  if (!stopped) validate();
  if (!stopped && early_.stop()) {
    reporter_.notice("stopped early: no better validation loss since step " + std::to_string(early_.best_step()));
  }
  save();
  report_save(writer_.finish());
  if (!save_failure_.empty()) {
    throw Error("the last checkpoint (step " + std::to_string(step_) + ") could not be written: " + save_failure_,
                ExitCode::kIo);
  }
  if (stopped)
    reporter_.notice("stopped after step " + std::to_string(step_) +
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
  const std::int64_t epochs = step_ / plan_.steps_per_epoch();
  const std::int64_t rest = step_ % plan_.steps_per_epoch();
  state.samples_seen = epochs * data_.train->size() + rest * config_.batch.size;
  state.config = config_text_;
  Continuity{.seed = static_cast<std::uint64_t>(config_.job.seed),
             .shards = setup_.shards,
             .batch = config_.batch.size,
             .micro = setup_.micro,
             .data = data_.train->fingerprint()}
      .write_to(state);
  early_.write_to(state);
  return state;
}

std::string Trainer::summary() const {
  std::ostringstream text;
  text << config_.model.name << ": " << model_.parameters().trained_elements() << " weights, "
       << config_.precision.compute << "; " << world_.size() << (world_.size() == 1 ? " worker" : " workers") << " ("
       << backend_->description() << "), batch " << config_.batch.size << " in " << setup_.shards
       << (setup_.shards == 1 ? " shard" : " shards") << "; " << data_.train->size() << " training and "
       << data_.validation->size() << " validation samples, " << plan_.steps_per_epoch() << " steps per epoch; "
       << total_steps_ << " steps";
  return text.str();
}

Reporter::Options Trainer::reporter_options() const {
  const bool tokens = model_.input().kind == InputSpec::Kind::kTokens;
  return {.every = config_.log.every,
          .statistics = config_.log.statistics > 0 ? config_.log.statistics : config_.log.every,
          .first_step = setup_.resume ? setup_.resume->step() : 0,
          .total_steps = total_steps_,
          .items_per_sample = tokens ? static_cast<double>(model_.input().targets_per_sample) : 1.0,
          .item = tokens ? "tokens" : "samples"};
}

std::unique_ptr<RunFolder> Trainer::run_folder() const {
  if (world_.rank() != 0) return nullptr;
  return std::make_unique<RunFolder>(config_.job.dir, config_text_, setup_.resume ? setup_.resume->step() : 0);
}

}  // namespace

RunResult train(const JobConfig& config, const std::string& config_text, Communicator& world, Observer& observer) {
  FileSystem& files = real_file_system();
  Trainer trainer(config, config_text, world, observer, files, prepare(config, files, world));
  return trainer.run();
}

}  // namespace ballast
