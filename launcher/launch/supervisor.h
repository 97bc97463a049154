// Defines: Cluster, SupervisorOptions, Supervisor: keeps a job running on the hosts that are left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/launch/hosts.h"
#include "launcher/launch/restart_budget.h"

namespace ballast {

/// What a supervisor sees and does: the hosts, the one job on them, the run folder, the clock. Tests play it.
class Cluster {
 public:
  /// What happened while waiting.
  struct News {
    std::optional<int> ended;   ///< the job, with this code (outcome.h)
    std::string cause;          ///< of the end, one line
    std::optional<int> signal;  ///< of somebody who wants the job to stop
  };
  /// What a host answered to the probes since the job started.
  struct Health {
    int answered = 0, missed = 0;  ///< in a row; one of them is 0
  };
  struct Progress {
    std::int64_t checkpoint = -1;  ///< newest step; -1: none
    double changed = 0.0;          ///< when anything in the run folder last changed, as now() tells time
  };

  Cluster() = default;
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  virtual ~Cluster() = default;

  /// Ends whatever of the job still lives on any host that can be reached, and removes what it left in memory. Says
  /// which hosts answered.
  virtual std::vector<bool> sweep() = 0;
  /// `workers[i]` of them on host i; the first worker is on the first host that has any.
  virtual void start(const std::vector<int>& workers) = 0;
  /// At most so many seconds; until then if anything happens.
  virtual News wait(double seconds) = 0;
  virtual void ask_to_stop() = 0;  ///< a checkpoint, then the end
  [[nodiscard]] virtual std::vector<Health> health() = 0;
  [[nodiscard]] virtual Progress progress() = 0;
  [[nodiscard]] virtual double now() = 0;  ///< seconds
  virtual void say(const std::string& line) = 0;
};

struct SupervisorOptions {
  std::vector<Host> hosts;
  int workers = 0;  ///< at most; no more than the job has shards
  int min_workers = 1;
  int restarts = 5;             ///< in a row without a new checkpoint
  double wait_for_hosts = 0.0;  ///< seconds to wait for hosts that do not answer before going on without them
  double hang = 1800.0;         ///< seconds without a change in the run folder
};

class Supervisor {
 public:
  Supervisor(SupervisorOptions options, Cluster& cluster);

  /// Until the job is done, or nothing more can be done for it. Returns the exit code of the whole.
  int run();

 private:
  struct End {
    int code = 0;
    std::string cause;
  };
  enum class Wish { kNone, kGrow, kStop };  // why the job was asked to stop

  [[nodiscard]] std::optional<std::vector<int>> gather();
  [[nodiscard]] std::vector<int> placed(const std::vector<bool>& answered) const;
  void announce(const std::vector<int>& workers, const std::vector<bool>& answered);
  [[nodiscard]] End watch(const std::vector<int>& workers);
  [[nodiscard]] std::optional<End> lost_or_hung(const std::vector<int>& workers);
  [[nodiscard]] std::string hosts_to_grow_by(const std::vector<int>& workers);
  [[nodiscard]] std::optional<int> conclude(const End& end, const std::vector<int>& workers);
  [[nodiscard]] std::optional<int> spend_restart(const End& end);
  bool rest(double seconds);
  void heed(int signal);

  SupervisorOptions options_;
  Cluster& cluster_;
  RestartBudget budget_;
  std::vector<int> losses_;    // of each host, since it last took part in a new checkpoint
  std::vector<bool> reached_;  // by the latest sweep
  Wish wish_ = Wish::kNone;
  int killed_by_ = 0;     // the second signal of somebody impatient
  std::string incident_;  // what the next start is the answer to
  std::string returned_;  // the hosts for which the job was asked to stop
  double started_ = 0.0;
  std::int64_t first_checkpoint_ = -1;  // the newest when the job was started
  double stop_asked_ = 0.0;
};

}  // namespace ballast
