#include "compute/cpu/workspace.h"

#include <utility>

namespace ballast {

WorkspacePool::Lease WorkspacePool::lend() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      auto workspace = std::move(free_.back());
      free_.pop_back();
      return {*this, std::move(workspace)};
    }
    // Room for one more, so that give_back never allocates.
    free_.reserve(free_.capacity() + 1);
  }
  return {*this, std::make_unique<Workspace>(engine_)};
}

void WorkspacePool::give_back(std::unique_ptr<Workspace> workspace) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(workspace));
}

}  // namespace ballast
