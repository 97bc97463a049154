// Implements bench_memory: passes over arrays that no cache holds.
#include <functional>

#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/table.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

constexpr std::int64_t kElements = 32 << 20;  // 128 MiB of f32 an array: several times the caches of a core's share

struct Arrays {
  explicit Arrays(Backend& backend)
      : a(filled(backend, kElements, DType::kF32)),
        b(filled(backend, kElements, DType::kF32)),
        c(filled(backend, kElements, DType::kF32)),
        d(filled(backend, kElements, DType::kF32)),
        narrow(backend, kElements, DType::kBF16) {
    backend.zero(d.span());  // Adam's v is no negative number
  }
  Buffer a, b, c, d, narrow;
};

struct Pass {
  const char* name;
  double bytes;  ///< per element
  std::function<void()> run;
};

std::vector<Pass> passes_over(const Arrays& x, Backend& backend) {
  const UpdateRule adamw{
      .kind = UpdateKind::kAdam, .lr = 1e-4F, .weight_decay = 0.1F, .beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 1e-8F};
  const UpdateRun f32{x.b.span(), {}, x.a.span(), {x.c.span(), x.d.span()}};
  UpdateRun both = f32;
  both.compute = x.narrow.span();
  return {{"read", 4, [&x, &backend] { (void)backend.sum_of_squares(x.a.span()); }},
          {"copy", 8, [&x, &backend] { backend.convert(x.a.span(), x.b.span()); }},
          {"triad", 12, [&x, &backend] { backend.add(x.a.span(), x.b.span(), x.c.span()); }},
          {"add in place", 12, [&x, &backend] { backend.add(x.a.span(), x.b.span(), x.b.span()); }},
          {"adamw", 28, [adamw, f32, &backend] { (void)backend.update(adamw, f32); }},
          {"adamw and bf16 copy", 30, [adamw, both, &backend] { (void)backend.update(adamw, both); }}};
}

}  // namespace

ExitCode bench_memory(const BenchCommand& command, Process& process) {
  return run_on_workers(command, process, [&](BenchSite& site) {
    const Arrays arrays(site.backend);
    const std::vector<Pass> passes = passes_over(arrays, site.backend);
    Table table("lrrrr");
    table.add({"pass", "bytes an element", "GB/s of a worker", "lowest..highest", "all workers"});
    nlohmann::ordered_json json = site_json("memory", site);
    json["array_bytes"] = arrays.a.span().bytes();
    json["rows"] = nlohmann::ordered_json::array();
    for (const Pass& pass : passes) {
      const double seconds = command.seconds / static_cast<double>(passes.size());
      const Rates rates = rates_of(site.world, pass.bytes * static_cast<double>(kElements),
                                   repeat_for(seconds, site.backend, site.world, pass.run));
      const std::vector<std::string> columns = rate_columns(rates);
      table.add({pass.name, fixed_number(pass.bytes, 0), columns[0], columns[1], columns[2]});
      json["rows"].push_back(
          {{"pass", pass.name}, {"bytes_per_element", pass.bytes}, {"bytes_per_second", rates_json(rates)}});
    }
    return BenchText{site_text(site) + table.text(), json.dump() + '\n'};
  });
}

}  // namespace ballast
