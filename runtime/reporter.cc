#include "runtime/reporter.h"

#include <algorithm>
#include <sstream>

namespace ballast {

Reporter::Reporter(Observer& observer, std::unique_ptr<RunFolder> folder, const ParameterTable& parameters,
                   const Options& options)
    : observer_(observer),
      folder_(std::move(folder)),
      parameters_(parameters),
      options_(options),
      health_(parameters),
      last_step_(options.first_step) {}

double Reporter::seconds_since_start() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Reporter::start(const std::string& summary) {
  if (folder_ == nullptr) return;
  observer_.on_start(summary);
  folder_->log(summary);
  start_ = std::chrono::steady_clock::now();
}

void Reporter::notice(const std::string& text) {
  if (folder_ == nullptr) return;
  observer_.on_notice(text);
  folder_->log(text);
}

void Reporter::warning(const std::string& text) {
  if (folder_ == nullptr) return;
  observer_.on_warning(text);
  folder_->log("warning: " + text);
}

bool Reporter::wants_statistics(std::int64_t step) const {
  return options_.statistics > 0 && step % options_.statistics == 0;
}

bool Reporter::wants_step(std::int64_t step) const {
  return step % options_.every == 0 || step == options_.total_steps || step == options_.first_step + 1;
}

void Reporter::step(std::int64_t step, double loss, const StepOutcome& outcome, std::int64_t samples,
                    const PhaseSeconds& phases) {
  if (folder_ == nullptr) return;
  samples_ += samples;
  for (std::size_t p = 0; p < phases.size(); ++p) phases_[p] += phases[p];
  if (!wants_step(step)) return;
  const double now = seconds_since_start();
  const double elapsed = std::max(now - last_report_ - paused_, 1e-9);
  const double per_step = elapsed / static_cast<double>(step - last_step_);
  for (double& seconds : phases_) seconds /= static_cast<double>(step - last_step_);
  const StepReport report{.step = step,
                          .total_steps = options_.total_steps,
                          .loss = loss,
                          .gradient_norm = outcome.gradient_norm,
                          .lr = outcome.lr,
                          .items_per_second = static_cast<double>(samples_) * options_.items_per_sample / elapsed,
                          .item = options_.item,
                          .matmul_share = static_cast<double>(samples_) * options_.flops_per_sample / elapsed /
                                          std::max(options_.matmul_flops, 1.0),
                          .phases = phases_,
                          .eta_seconds = per_step * static_cast<double>(options_.total_steps - step),
                          .validation_loss = validation_loss_,
                          .validation_accuracy = validation_accuracy_};
  observer_.on_step(report);
  folder_->record_step(report, now);
  last_report_ = now;
  last_step_ = step;
  paused_ = 0.0;
  samples_ = 0;
  phases_ = {};
}

void Reporter::statistics(std::int64_t step, const std::vector<ParameterStatistics>& statistics) {
  if (folder_ == nullptr) return;
  folder_->record_statistics(step, statistics, parameters_);
  for (const std::string& text : health_.check(step, statistics)) warning(text);
}

void Reporter::evaluation(std::int64_t step, const EvaluationResult& result) {
  validation_loss_ = result.loss;
  validation_accuracy_ = result.accuracy;
  if (folder_ == nullptr) return;
  observer_.on_evaluation(step, result.loss, result.accuracy);
  folder_->record_evaluation(step, result.loss, result.accuracy, result.samples);
  std::ostringstream line;
  line << "step " << step << ": validation loss " << result.loss << ", accuracy " << result.accuracy;
  folder_->log(line.str());
}

void Reporter::checkpoint(const SaveResult& result) {
  if (folder_ == nullptr) return;
  observer_.on_checkpoint(result);
  folder_->record_checkpoint(result);
  const std::string step = "checkpoint of step " + std::to_string(result.step);
  folder_->log(result.ok ? step + " saved" : "warning: " + step + " not saved: " + result.message);
  if (result.ok && !result.message.empty()) warning(step + " saved, but: " + result.message);
}

}  // namespace ballast
