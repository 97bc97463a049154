#include "compute/cpu/onednn.h"

#include <utility>

#include "compute/error.h"

namespace ballast {

namespace {

constexpr std::size_t kMostPrepared = 2048;  ///< as PrimitiveCache: starting over keeps the memory bounded

/// Memory objects in the order of `arguments`, then that of the scratch block; what they point to is set for each
/// execution.
PreparedArguments& prepared_for(const OneDnnKernel& kernel, Workspace& workspace,
                                std::initializer_list<OneDnnArgument> arguments) {
  const auto key = kernel.primitive.get();
  if (const auto found = workspace.prepared.find(key); found != workspace.prepared.end()) return found->second;
  if (workspace.prepared.size() >= kMostPrepared) workspace.prepared.clear();
  const auto engine = workspace.stream.get_engine();
  PreparedArguments made{.primitive = kernel.primitive, .memories = {}, .arguments = {}};
  const auto add = [&](int name, const dnnl::memory::desc& layout) {
    made.memories.push_back(dnnl::memory(layout, engine, DNNL_MEMORY_NONE));
    made.arguments.push_back({name, made.memories.back().get()});
  };
  for (const auto& argument : arguments) add(argument.name, argument.layout);
  add(DNNL_ARG_SCRATCHPAD, kernel.scratch);
  return workspace.prepared.emplace(key, std::move(made)).first->second;
}

}  // namespace

dnnl::memory::data_type onednn_type(DType dtype) {
  if (dtype == DType::kF32) return dnnl::memory::data_type::f32;
  if (dtype == DType::kBF16) return dnnl::memory::data_type::bf16;
  throw Error(std::string("matrix products and convolutions take f32 or bf16, not ") + name_of(dtype));
}

std::string onednn_version() {
  const auto* version = dnnl::version();
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

void execute(const OneDnnKernel& kernel, Workspace& workspace, std::initializer_list<OneDnnArgument> arguments) {
  try {
    PreparedArguments& prepared = prepared_for(kernel, workspace, arguments);
    std::size_t i = 0;
    // oneDNN's interface does not tell inputs from outputs.
    for (const auto& argument : arguments) prepared.memories[i++].set_data_handle(const_cast<void*>(argument.memory));
    prepared.memories[i].set_data_handle(
        workspace.scratch.at_least(static_cast<std::int64_t>(kernel.scratch.get_size())));
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(kernel.primitive.get(), workspace.stream.get(),
                               static_cast<int>(prepared.arguments.size()), prepared.arguments.data()),
        "could not execute a primitive");
    workspace.stream.wait();
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN failed to run an operation: ") + error.what());
  }
}

OneDnnKernel make_kernel(const dnnl::primitive_desc& description) {
  return {dnnl::primitive(description), description.scratchpad_desc()};
}

OneDnnKernel make_reorder(const dnnl::engine& engine, const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  const dnnl::reorder::primitive_desc description(engine, from, engine, to, scratch_from_caller(false));
  return {dnnl::reorder(description), description.scratchpad_desc()};
}

bool is_fast(const dnnl::primitive_desc& description) {
  return description.get(true) != nullptr && std::string(description.impl_info_str()).rfind("ref", 0) != 0;
}

dnnl::primitive_attr scratch_from_caller(bool accumulate) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  return attributes;
}

}  // namespace ballast
