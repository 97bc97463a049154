#include "launcher/plan/forecast_json.h"

namespace ballast {
namespace {

using Json = nlohmann::ordered_json;

Json cluster_json(const Forecast& forecast) {
  const ClusterSection& c = forecast.cluster;
  return {{"nodes", c.nodes},
          {"workers", c.workers},
          {"flops", c.flops},
          {"memory_bandwidth", c.memory_bandwidth},
          {"memory_gib", c.memory_gib},
          {"efficiency", c.efficiency},
          {"network_bandwidth", c.network_bandwidth},
          {"latency", c.latency},
          {"message_seconds", c.message_seconds},
          {"network_overhead", c.network_overhead},
          {"disk_bandwidth", c.disk_bandwidth},
          {"mtbf_hours", c.mtbf_hours},
          {"watts", c.watts},
          {"price", c.price},
          {"rates_measured", forecast.rates_measured}};
}

Json step_json(const StepPrediction& step) {
  Json path = Json::array();
  for (const auto& stretch : step.critical_path) {
    path.push_back({{"phase", stretch.phase}, {"seconds", stretch.seconds}});
  }
  return {{"seconds", step.seconds},
          {"worker_seconds", step.worker_seconds},
          {"exposed_seconds", step.exposed_seconds()},
          {"link_out_seconds", step.link_out_seconds},
          {"bytes_out", step.bytes_out},
          {"bytes_in", step.bytes_in},
          {"messages_out", step.messages_out},
          {"critical_path", path},
          {"steps", step.steps}};
}

Json bucket_json(const Forecast::BucketChoice& bucket) { return {{"mib", bucket.mib}, {"seconds", bucket.seconds}}; }

Json levels_json(const Forecast& forecast) {
  Json levels = Json::array();
  for (const Forecast::Level& level : forecast.levels) {
    Json entry = {{"sharding", level.sharding}};
    for (const MemoryPurpose& purpose : memory_purposes()) entry[purpose.key] = level.memory.*purpose.bytes;
    entry["node"] = level.node;
    levels.push_back(std::move(entry));
  }
  return levels;
}

Json scaling_json(const Forecast& forecast) {
  Json scaling = Json::array();
  for (const Forecast::Scale& scale : forecast.scaling) {
    scaling.push_back(
        {{"nodes", scale.nodes},
         {"seconds", scale.seconds},
         {"efficiency", scale.efficiency},
         {"best_bucket", bucket_json(scale.best_bucket)},
         {"best_efficiency", scale.best_efficiency},
         {"fixed_batch_efficiency", scale.fixed_batch_efficiency ? Json(*scale.fixed_batch_efficiency) : Json()}});
  }
  return scaling;
}

Json saving_json(const Forecast::Saving& saving) {
  const auto or_null = [](double seconds) { return seconds > 0.0 ? Json(seconds) : Json(); };
  return {{"bytes", saving.bytes},
          {"write_seconds", saving.write_seconds},
          {"stall_seconds", saving.stall_seconds},
          {"mean_seconds_between_failures", or_null(saving.mean_seconds_between_failures)},
          {"young_seconds", or_null(saving.young_seconds)},
          {"daly_seconds", or_null(saving.daly_seconds)},
          {"lost_share", saving.lost_share}};
}

Json budget_json(const std::optional<Forecast::Budget>& budget) {
  if (!budget) return {};
  return {{"items", budget->items},
          {"steps", budget->steps},
          {"seconds", budget->seconds},
          {"kilowatt_hours", budget->kilowatt_hours},
          {"cost", budget->cost}};
}

}  // namespace

Json forecast_json(const Forecast& forecast) {
  Json buckets = Json::array(), remedies = Json::array();
  for (const auto& bucket : forecast.buckets) buckets.push_back(bucket_json(bucket));
  for (const auto& remedy : forecast.remedies) {
    remedies.push_back({{"change", remedy.change}, {"node_memory", remedy.node_memory}, {"seconds", remedy.seconds}});
  }
  return {{"cluster", cluster_json(forecast)},
          {"step", step_json(forecast.step)},
          {"item", forecast.item},
          {"items_per_second", forecast.items_per_step / forecast.step.seconds},
          {"levels", levels_json(forecast)},
          {"bucket_auto", forecast.bucket_is_automatic},
          {"buckets", buckets},
          {"best_bucket", bucket_json(forecast.best_bucket)},
          {"scaling", scaling_json(forecast)},
          {"checkpoint", saving_json(forecast.saving)},
          {"budget", budget_json(forecast.budget)},
          {"node_memory", forecast.node_memory},
          {"fits", forecast.fits()},
          {"remedies", remedies}};
}

}  // namespace ballast
