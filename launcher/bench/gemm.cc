// Implements bench_gemm: Backend::matmul with the shapes and forms that training uses.
#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/table.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

// GPT-2 with 124 million weights (Radford et al. 2019) on 1024 positions, then an mlp 784-256-10 on 64 samples.
constexpr const char* kShapes =
    "1024x2304x768,1024x768x768,1024x3072x768,1024x768x3072,1024x50257x768,64x256x784,64x10x256";

/// One product of a layer y_MN = x_MK w_NK^T.
struct Product {
  const char* name;
  MatmulShape shape;
  DType output;
};

std::vector<Product> products_of(const LayerShape& layer, DType compute) {
  const auto [m, n, k] = layer;
  return {{"forward", {.m = m, .n = n, .k = k, .transpose_b = true}, compute},
          {"data gradient", {.m = m, .n = k, .k = n}, compute},
          {"weight gradient", {.m = n, .n = k, .k = m, .transpose_a = true, .accumulate = true}, DType::kF32}};
}

Rates measure(const Product& product, DType compute, double seconds, BenchSite& site) {
  const MatmulShape& shape = product.shape;
  const Buffer a = filled(site.backend, shape.m * shape.k, compute);
  const Buffer b = filled(site.backend, shape.n * shape.k, compute);
  const Buffer c = filled(site.backend, shape.m * shape.n, product.output);
  const std::vector<double> times = repeat_for(seconds, site.backend, site.world,
                                               [&] { site.backend.matmul(shape, a.span(), b.span(), {}, c.span()); });
  return rates_of(site.world, 2.0 * static_cast<double>(shape.m * shape.n) * static_cast<double>(shape.k), times);
}

}  // namespace

ExitCode bench_gemm(const BenchCommand& command, Process& process) {
  const std::vector<LayerShape> layers = shapes_named(command.shapes.empty() ? kShapes : command.shapes);
  const std::vector<DType> precisions = precisions_named(command.precision);
  return run_on_workers(command, process, [&](BenchSite& site) {
    const double seconds = command.seconds / static_cast<double>(3 * layers.size() * precisions.size());
    Table table("llrrrr");
    table.add({"M x N x K", "product", "", "GFLOP/s of a worker", "lowest..highest", "all workers"});
    nlohmann::ordered_json json = site_json("gemm", site);
    json["rows"] = nlohmann::ordered_json::array();
    for (const LayerShape& layer : layers) {
      const std::string shape =
          std::to_string(layer.m) + " x " + std::to_string(layer.n) + " x " + std::to_string(layer.k);
      for (const DType compute : precisions) {
        for (const Product& product : products_of(layer, compute)) {
          const Rates rates = measure(product, compute, seconds, site);
          const std::vector<std::string> columns = rate_columns(rates);
          table.add({shape, product.name, name_of(compute), columns[0], columns[1], columns[2]});
          json["rows"].push_back({{"m", layer.m},
                                  {"n", layer.n},
                                  {"k", layer.k},
                                  {"product", product.name},
                                  {"precision", name_of(compute)},
                                  {"flops_per_second", rates_json(rates)}});
        }
      }
    }
    return BenchText{site_text(site) + table.text(), json.dump() + '\n'};
  });
}

}  // namespace ballast
