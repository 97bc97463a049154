// Defines: Patience, wait_for, MpiRequest.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <exception>
#include <vector>

#include "comm/communicator.h"

namespace ballast {

/// What a wait does after its first millisecond, which it spends testing and yielding the core. A worker that sleeps
/// between tests leaves its core to others but gives MPI a turn only every 50 microseconds.
enum class Patience : std::uint8_t {
  kYield,  ///< bulk transfers, when every worker has a core of its own: MPI must move bytes all the time
  kSleep,  ///< waiting for other workers, and everything when workers share cores
};

/// Returns when all requests are done. Throws Error when one failed.
void wait_for(std::vector<MPI_Request>& requests, Patience patience);

/// One message in pieces below 2^31 bytes.
class MpiRequest final : public Request {
 public:
  MpiRequest(std::vector<MPI_Request> pieces, Patience patience);
  MpiRequest(const MpiRequest&) = delete;
  MpiRequest& operator=(const MpiRequest&) = delete;
  /// Waits. While an exception unwinds it cancels instead and gives up after a second: the partner may never answer.
  ~MpiRequest() override;
  void wait() override { wait_for(pieces_, patience_); }
  [[nodiscard]] bool test() override;

 private:
  std::vector<MPI_Request> pieces_;
  Patience patience_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace ballast
