#include "launcher/cross_checks.h"

#include <bit>

#include "launcher/number_text.h"

namespace ballast {
namespace {

using std::to_string;
using Errors = std::vector<CrossError>;

void check_length(const JobSection& job, Errors& errors) {
  if (job.steps > 0 && job.epochs > 0.0) {
    errors.push_back({"job.steps", "job.steps = " + to_string(job.steps) + " and job.epochs = " +
                                       number_text(job.epochs) + " both say how long to train; set one of them to 0"});
  }
  if (job.steps == 0 && job.epochs == 0.0) {
    errors.push_back({"job.steps", "nothing says how long to train; set job.steps or job.epochs"});
  }
}

void check_batch(const BatchSection& batch, Errors& errors) {
  if (batch.shards == 0 || batch.size % batch.shards == 0) return;
  const std::int64_t below = batch.size / batch.shards * batch.shards;
  const std::string choices = (below > 0 ? to_string(below) + " or " : "") + to_string(below + batch.shards);
  errors.push_back({"batch.size", "batch.size = " + to_string(batch.size) + " cannot be cut into batch.shards = " +
                                      to_string(batch.shards) + " equal shards; use " + choices});
}

void check_model(const ModelConfig& model, Errors& errors) {
  if (model.name != "gpt" || model.width % model.heads == 0) return;
  errors.push_back({"model.width", "model.width = " + to_string(model.width) +
                                       " is not a multiple of model.heads = " + to_string(model.heads)});
}

void check_data(const JobConfig& config, Errors& errors) {
  const DataSection& data = config.data;
  if (data.format != "synthetic" && data.train.empty()) {
    errors.push_back({"data.train", "data.train is missing: data.format = \"" + data.format + "\" needs a path"});
  }
  if (data.chunk > 0 && !data.shuffle) {
    errors.push_back({"data.chunk", "data.chunk shuffles, but data.shuffle = false; set one of them otherwise"});
  }
  const bool gpt = config.model.name == "gpt";
  const bool of_tokens = data.format == "text" || data.format == "tokens";
  if (gpt && data.format == "idx") {
    errors.push_back({"data.format",
                      "model.name = \"gpt\" reads tokens; data.format = \"idx\" is images. Use \"text\", "
                      "\"tokens\" or \"synthetic\""});
  }
  if (!gpt && of_tokens) {
    errors.push_back({"data.format", "model.name = \"" + config.model.name + "\" reads features; data.format = \"" +
                                         data.format + "\" is tokens. Use \"idx\" or \"synthetic\""});
  }
}

void check_groups(const JobConfig& config, Errors& errors) {
  const std::int64_t shards = config.batch.shards, groups = config.comm.groups;
  if (shards == 0 || groups == 0) return;
  const bool equal = shards % groups == 0;
  const std::string words =
      "comm.groups = " + to_string(groups) + ": batch.shards = " + to_string(shards) + " must be ";
  const std::string remedy = "; use " + to_string(shards) + " groups, or 0";
  if (config.outer.every > 0) {
    if (!equal) errors.push_back({"comm.groups", words + "a multiple of it" + remedy});
  } else if (!equal || !std::has_single_bit(static_cast<std::uint64_t>(shards / groups))) {
    errors.push_back({"comm.groups", words + "that many times a power of two" + remedy});
  }
}

void check_outer(const OuterSection& outer, Errors& errors) {
  if (outer.every == 0) return;
  if (outer.delay >= outer.every) {
    errors.push_back({"outer.delay", "outer.delay = " + to_string(outer.delay) +
                                         " must be less than outer.every = " + to_string(outer.every)});
  }
  if (outer.fragments > outer.every) {
    errors.push_back({"outer.fragments", "outer.fragments = " + to_string(outer.fragments) +
                                             " must not be more than outer.every = " + to_string(outer.every)});
  }
}

void check_compression(const CommSection& comm, Errors& errors) {
  if (comm.compression == "none" || comm.reduction == "ordered") return;
  errors.push_back({"comm.compression", "comm.compression = \"" + comm.compression +
                                            "\" needs comm.reduction = \"ordered\": NCCL adds up plain numbers"});
}

}  // namespace

std::vector<CrossError> cross_check(const JobConfig& config, ConfigUse use) {
  Errors errors;
  if (use == ConfigUse::kTrain) check_length(config.job, errors);
  check_batch(config.batch, errors);
  check_model(config.model, errors);
  check_data(config, errors);
  check_groups(config, errors);
  check_compression(config.comm, errors);
  check_outer(config.outer, errors);
  if (config.optimizer.nesterov && config.optimizer.name == "sgd" && config.optimizer.momentum == 0.0) {
    errors.push_back({"optimizer.nesterov", "optimizer.nesterov = true needs optimizer.momentum above 0"});
  }
  if (config.evaluate.patience > 0 && config.evaluate.every == 0) {
    errors.push_back(
        {"evaluate.patience", "evaluate.patience needs evaluate.every: without evaluations nothing stops early"});
  }
  return errors;
}

}  // namespace ballast
