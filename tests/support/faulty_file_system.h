// Defines: FaultyFileSystem: a FileSystem over a real directory that counts operations, fails a chosen one, and knows
// what a power loss would leave.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "checkpoints/file_system.h"

namespace ballast {

enum class Fault {
  kNone,
  kNoSpace,    ///< this operation: "No space left on device"
  kStaysFull,  ///< so does every later one that needs space
  kIoError,    ///< this operation: "Input/output error"
  kTornWrite,  ///< half of the bytes, then the error; other operations as kIoError
  kDeath,      ///< the process is killed: this operation and all later ones have no effect
  kTornDeath,  ///< killed in the middle of a write
};
inline constexpr Fault kAllFaults[] = {Fault::kNoSpace,   Fault::kStaysFull, Fault::kIoError,
                                       Fault::kTornWrite, Fault::kDeath,     Fault::kTornDeath};

class SimulatedDeath : public std::runtime_error {
 public:
  SimulatedDeath() : std::runtime_error("simulated death of the process") {}
};

/// Safe to share between worker threads. Everything but reading from an open file counts as an operation.
class FaultyFileSystem : public FileSystem {
 public:
  /// Over real files below `root`, an empty directory.
  explicit FaultyFileSystem(const std::string& root);
  ~FaultyFileSystem() override;

  /// Fails operation number `operation`, counted from 0 at this call. Ends an earlier death.
  void fail_at(std::int64_t operation, Fault fault);
  void delay_each(std::chrono::microseconds delay) { delay_ = delay; }
  [[nodiscard]] std::int64_t operations() const;  ///< since fail_at
  [[nodiscard]] bool failed() const { return operations() > at_; }

  /// Pessimistic: of files only what was synced, of directories only the names that were there at their last sync.
  /// Makes `target` hold that.
  void restore_after_power_loss(const std::string& target) const;

  std::unique_ptr<File> create(const std::string& path) override;
  std::unique_ptr<File> open_write(const std::string& path) override;
  std::unique_ptr<File> open_read(const std::string& path) override;
  void make_directory(const std::string& path) override;
  void sync_directory(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove_file(const std::string& path) override;
  void remove_directory(const std::string& path) override;
  std::vector<std::string> list(const std::string& path) override;
  bool exists(const std::string& path) override;

 private:
  friend class FaultyFile;
  struct Node {
    std::vector<std::byte> written, synced;
    std::map<std::string, std::shared_ptr<Node>> names, synced_names;
    bool is_directory = false;
  };
  /// Counts an operation and throws when it is the one to fail. True: write half, then call fail_torn.
  bool step(const std::string& path, bool needs_space, bool is_write = false);
  [[noreturn]] void fail_torn(const std::string& path);
  /// Where a path stands in the model: the node of its directory, and its last name.
  std::pair<Node*, std::string> place(const std::string& path);
  std::shared_ptr<Node>& node(const std::string& path);
  static void restore(const Node& node, const std::string& target);

  mutable std::mutex mutex_;
  FileSystem& real_;
  std::string root_;
  std::shared_ptr<Node> model_;
  std::int64_t count_ = 0, at_ = 0;
  Fault fault_ = Fault::kNone;
  bool dead_ = false;
  std::atomic<std::chrono::microseconds> delay_{std::chrono::microseconds(0)};
};

}  // namespace ballast
