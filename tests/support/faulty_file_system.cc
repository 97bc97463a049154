#include "tests/support/faulty_file_system.h"

#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "compute/error.h"

namespace ballast {

/// An open file: the real one and its place in the model, which keeps its bytes as the disk would have them.
class FaultyFile : public File {
 public:
  FaultyFile(FaultyFileSystem& files, std::unique_ptr<File> real, std::string path,
             std::shared_ptr<FaultyFileSystem::Node> node)
      : files_(files), real_(std::move(real)), path_(std::move(path)), node_(std::move(node)) {}

  void write_at(std::int64_t offset, std::span<const std::byte> bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    const bool torn = files_.step(path_, true, true);
    if (torn) bytes = bytes.first(bytes.size() / 2);
    const auto begin = static_cast<std::size_t>(offset);
    if (node_->written.size() < begin + bytes.size()) node_->written.resize(begin + bytes.size());
    std::copy(bytes.begin(), bytes.end(), node_->written.begin() + offset);
    real_->write_at(offset, bytes);
    if (torn) files_.fail_torn(path_);
  }
  void read_at(std::int64_t offset, std::span<std::byte> bytes) override { real_->read_at(offset, bytes); }
  void allocate(std::int64_t bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    files_.step(path_, true);
    node_->written.resize(static_cast<std::size_t>(bytes));
    real_->allocate(bytes);
  }
  void sync() override {
    const std::scoped_lock lock(files_.mutex_);
    files_.step(path_, true);
    node_->synced = node_->written;
  }
  void close() override {
    const std::scoped_lock lock(files_.mutex_);
    files_.step(path_, true);
    real_->close();
  }
  std::int64_t size() override { return real_->size(); }

 private:
  FaultyFileSystem& files_;
  std::unique_ptr<File> real_;
  std::string path_;
  std::shared_ptr<FaultyFileSystem::Node> node_;
};

FaultyFileSystem::FaultyFileSystem(const std::string& root)
    : real_(real_file_system()), root_(root), model_(std::make_shared<Node>()) {
  model_->is_directory = true;
}
FaultyFileSystem::~FaultyFileSystem() = default;

void FaultyFileSystem::fail_at(std::int64_t operation, Fault fault) {
  const std::scoped_lock lock(mutex_);
  count_ = 0;
  at_ = operation;
  fault_ = fault;
  dead_ = false;
}

std::int64_t FaultyFileSystem::operations() const {
  const std::scoped_lock lock(mutex_);
  return count_;
}

bool FaultyFileSystem::step(const std::string& path, bool needs_space, bool is_write) {
  std::this_thread::sleep_for(delay_.load());
  if (dead_) throw SimulatedDeath();
  const std::int64_t number = count_++;
  if (fault_ == Fault::kStaysFull && number >= at_ && needs_space) {
    throw Error(path + ": No space left on device", ExitCode::kIo);
  }
  if (number != at_ || fault_ == Fault::kNone || fault_ == Fault::kStaysFull) return false;
  if (is_write && (fault_ == Fault::kTornWrite || fault_ == Fault::kTornDeath)) return true;
  if (fault_ == Fault::kNoSpace) throw Error(path + ": No space left on device", ExitCode::kIo);
  fail_torn(path);
}

void FaultyFileSystem::fail_torn(const std::string& path) {
  dead_ = fault_ == Fault::kDeath || fault_ == Fault::kTornDeath;
  if (dead_) throw SimulatedDeath();
  throw Error(path + ": Input/output error", ExitCode::kIo);
}

std::pair<FaultyFileSystem::Node*, std::string> FaultyFileSystem::place(const std::string& path) {
  const std::filesystem::path within = std::filesystem::path(path).lexically_normal().lexically_relative(
      std::filesystem::path(root_).lexically_normal());
  Node* directory = model_.get();
  for (const auto& part : within.parent_path()) {
    std::shared_ptr<Node>& next = directory->names[part.string()];
    if (!next) next = std::make_shared<Node>();  // made by another process
    next->is_directory = true;
    directory = next.get();
  }
  return {directory, within.filename().string()};
}

std::shared_ptr<FaultyFileSystem::Node>& FaultyFileSystem::node(const std::string& path) {
  const auto [directory, name] = place(path);
  return name.empty() || name == "." ? model_ : directory->names[name];
}

std::unique_ptr<File> FaultyFileSystem::create(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, true);
  auto file = real_.create(path);
  node(path) = std::make_shared<Node>();
  return std::make_unique<FaultyFile>(*this, std::move(file), path, node(path));
}

std::unique_ptr<File> FaultyFileSystem::open_write(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, false);
  auto file = real_.open_write(path);
  if (!node(path)) node(path) = std::make_shared<Node>();
  return std::make_unique<FaultyFile>(*this, std::move(file), path, node(path));
}

std::unique_ptr<File> FaultyFileSystem::open_read(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, false);
  return real_.open_read(path);
}

void FaultyFileSystem::make_directory(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, true);
  real_.make_directory(path);
  node(path) = std::make_shared<Node>();
  node(path)->is_directory = true;
}

void FaultyFileSystem::sync_directory(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, true);
  Node& directory = *node(path);
  directory.synced_names = directory.names;
}

void FaultyFileSystem::rename(const std::string& from, const std::string& to) {
  const std::scoped_lock lock(mutex_);
  step(from, true);
  real_.rename(from, to);
  std::shared_ptr<Node> moved = node(from);
  const auto [directory, name] = place(from);
  directory->names.erase(name);
  node(to) = std::move(moved);
}

void FaultyFileSystem::remove_file(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, false);
  real_.remove_file(path);
  const auto [directory, name] = place(path);
  directory->names.erase(name);
}

void FaultyFileSystem::remove_directory(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, false);
  real_.remove_directory(path);
  const auto [directory, name] = place(path);
  directory->names.erase(name);
}

std::vector<std::string> FaultyFileSystem::list(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, false);
  return real_.list(path);
}

bool FaultyFileSystem::exists(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  step(path, false);
  return real_.exists(path);
}

void FaultyFileSystem::restore_after_power_loss(const std::string& target) const {
  const std::scoped_lock lock(mutex_);
  restore(*model_, target);
}

void FaultyFileSystem::restore(const Node& node, const std::string& target) {
  if (node.is_directory) {
    std::filesystem::create_directories(target);
    for (const auto& [name, child] : node.synced_names) restore(*child, target + "/" + name);
    return;
  }
  std::ofstream file(target, std::ios::binary);
  file.write(reinterpret_cast<const char*>(node.synced.data()), static_cast<std::streamsize>(node.synced.size()));
}

}  // namespace ballast
