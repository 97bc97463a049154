// Defines: MpiCluster: the hosts and the job as mpirun, an agent such as ssh, and the run folder show them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launcher/launch/children.h"
#include "launcher/launch/host_commands.h"
#include "launcher/launch/mpi_command.h"
#include "launcher/launch/supervisor.h"
#include "launcher/launch/testimony.h"

namespace ballast {

struct MpiClusterOptions {
  MpiOptions mpi;
  std::vector<Host> hosts;
  std::vector<std::string> on_restart;  ///< further arguments of the workers, from the second start on
  std::string run_folder;
  double probe_every = 10.0;  ///< seconds
  double answer_within = 3.0;
};

class MpiCluster : public Cluster {
 public:
  explicit MpiCluster(MpiClusterOptions options);
  ~MpiCluster() override;

  std::vector<bool> sweep() override;
  void start(const std::vector<int>& workers) override;
  News wait(double seconds) override;
  void ask_to_stop() override;
  [[nodiscard]] std::vector<Health> health() override { return health_; }
  [[nodiscard]] Progress progress() override;
  [[nodiscard]] double now() override;
  void say(const std::string& line) override;

 private:
  [[nodiscard]] std::vector<std::vector<std::string>> on_every_host(const std::string& script, bool here) const;
  void relay();
  void probe();
  [[nodiscard]] std::optional<Children::End> end_of_job();
  [[nodiscard]] bool half_dead();
  void forget_job();

  MpiClusterOptions options_;
  std::vector<bool> here_;  // which host is this machine
  Children children_;
  HostCommands probes_;
  std::vector<Health> health_;
  int signals_ = -1;  // file descriptors
  int stderr_ = -1;
  pid_t mpirun_ = 0;  // 0: no job
  Testimony testimony_;
  bool started_before_ = false;
  double next_probe_ = 0.0, next_count_ = 0.0;
  double doomed_since_ = -1.0;  // when the end was announced that mpirun is slow to come to; -1: not
  int most_workers_here_ = 0;   // that were seen at once
  std::string seen_;            // what progress() compares
  double changed_ = 0.0;
};

}  // namespace ballast
