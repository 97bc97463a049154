// Defines: Workspace, WorkspacePool: what a task needs to execute a oneDNN primitive.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "compute/cpu/aligned_memory.h"

namespace ballast {

/// The arguments of one primitive, made once: oneDNN allocates memory for each, every time.
struct PreparedArguments {
  dnnl::primitive primitive;  ///< kept, so that no other primitive gets its address
  std::vector<dnnl::memory> memories;
  std::vector<dnnl_exec_arg_t> arguments;
};

/// One stream, the scratch block that primitives overwrite, and a block that its user keeps results in between two of
/// them. Used by one thread at a time.
struct Workspace {
  explicit Workspace(const dnnl::engine& engine) : stream(engine) {}
  dnnl::stream stream;
  AlignedMemory scratch;
  AlignedMemory results;
  std::unordered_map<const_dnnl_primitive_t, PreparedArguments> prepared;
};

/// Lends workspaces to tasks and keeps them: after the first steps there are as many as threads, and nothing is
/// allocated.
class WorkspacePool {
 public:
  /// Gives its workspace back when it dies. Must not outlive the pool.
  class Lease {
   public:
    Lease(WorkspacePool& pool, std::unique_ptr<Workspace> workspace) : pool_(pool), workspace_(std::move(workspace)) {}
    ~Lease() { pool_.give_back(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Workspace& operator*() const { return *workspace_; }
    Workspace* operator->() const { return workspace_.get(); }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<Workspace> workspace_;
  };

  [[nodiscard]] Lease lend();
  [[nodiscard]] const dnnl::engine& engine() const { return engine_; }

 private:
  void give_back(std::unique_ptr<Workspace> workspace) noexcept;

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace ballast
