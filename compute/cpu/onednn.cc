#include "compute/cpu/onednn.h"

#include <unordered_map>

#include "compute/error.h"

namespace ballast {

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
    const auto engine = workspace.stream.get_engine();
    std::unordered_map<int, dnnl::memory> memories;
    for (const auto& argument : arguments) {
      // oneDNN's interface does not tell inputs from outputs.
      memories.emplace(argument.name, dnnl::memory(argument.layout, engine, const_cast<void*>(argument.memory)));
    }
    auto* scratch = workspace.scratch.at_least(static_cast<std::int64_t>(kernel.scratch.get_size()));
    memories.emplace(DNNL_ARG_SCRATCHPAD, dnnl::memory(kernel.scratch, engine, scratch));
    kernel.primitive.execute(workspace.stream, memories);
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
