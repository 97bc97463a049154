# Doubles for the tests of every room: USES thread_workers.
add_library(ballast_thread_workers STATIC support/thread_workers.cc)
target_link_libraries(ballast_thread_workers PUBLIC ballast_comm)
add_library(ballast_host_exchange STATIC support/host_exchange.cc)
target_link_libraries(ballast_host_exchange PUBLIC ballast_comm)

# What several tests of comm share: bodies that run on threads and under mpirun alike.
add_library(ballast_comm_bodies STATIC comm/communicator_contract.cc comm/training_steps.cc
  support/reference_backend.cc support/reference_compression.cc support/reference_backend_sequence.cc)
target_link_libraries(ballast_comm_bodies PUBLIC ballast_comm ballast_thread_workers GTest::gtest)

ballast_unit_test(comm/bucket_size USES comm)
ballast_unit_test(comm/link_cost USES comm)
ballast_unit_test(comm/link_probe USES comm thread_workers)
ballast_unit_test(comm/shards USES comm)
ballast_unit_test(comm/partition USES comm)
ballast_unit_test(comm/sum_plan USES comm thread_workers)
ballast_unit_test(comm/thread_workers USES comm comm_bodies)
ballast_unit_test(comm/flight_recorder USES comm)
ballast_unit_test(comm/watched_communicator USES comm comm_bodies)
ballast_unit_test(comm/transfers USES comm thread_workers)
ballast_unit_test(comm/node_buckets USES comm)
ballast_unit_test(comm/split_allreduce USES comm comm_bodies TIMEOUT 300)
ballast_unit_test(comm/device_allreduce USES comm comm_bodies host_exchange TIMEOUT 300)
ballast_mpi_test(comm/communicator USES comm comm_bodies RANKS 1 2 3 4)
ballast_mpi_test(comm/split_allreduce USES comm comm_bodies RANKS 1 2 3 4)
ballast_mpi_test(comm/value_gathering USES comm comm_bodies RANKS 2 3 4)

# Starts mpirun itself: a job that fails must end, and say why.
add_executable(comm_failing_job comm/failing_job.cc)
target_link_libraries(comm_failing_job PRIVATE ballast_comm_bodies)
ballast_unit_test(comm/mpi_session USES comm)
add_dependencies(comm_mpi_session_test comm_failing_job)
target_compile_definitions(comm_mpi_session_test PRIVATE MPIEXEC="${MPIEXEC_EXECUTABLE}" FAILING_JOB="$<TARGET_FILE:comm_failing_job>")
set_tests_properties(comm.mpi_session PROPERTIES LABELS mpi ENVIRONMENT "${BALLAST_MPI_ENVIRONMENT}")
ballast_mpi_test(comm/unordered_sum USES comm RANKS 1 2 3)

include(comm/nccl_tests.cmake)
