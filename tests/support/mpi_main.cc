// The main() of every *_mpi_test: GoogleTest on every rank, one report from rank 0.
#include <gtest/gtest.h>

#include <exception>

#include "comm/mpi_session.h"
#include "tests/support/all_ranks_listener.h"
#include "tests/support/mpi_world.h"

namespace ballast {
namespace {

Communicator* world = nullptr;

}  // namespace

Communicator& mpi_world() { return *world; }

}  // namespace ballast

int main(int argc, char** argv) {
  ballast::MpiSession session(argc, argv);
  try {
    testing::InitGoogleTest(&argc, argv);
    testing::GTEST_FLAG(catch_exceptions) =
        false;  // an exception on one rank ends the job: the others wait for that rank
    ballast::world = &session.world();
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    if (session.world().rank() != 0) delete listeners.Release(listeners.default_result_printer());
    ballast::AllRanksListener gather(session.world().split(0));
    listeners.Append(&gather);
    const int result = RUN_ALL_TESTS();
    listeners.Release(&gather);
    return result;
  } catch (const std::exception& error) {
    session.abort(error);
  }
}
