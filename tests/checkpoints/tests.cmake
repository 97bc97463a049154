# Every test of this room saves and loads with workers that are threads.
add_library(ballast_checkpoints_testing STATIC ${CMAKE_CURRENT_LIST_DIR}/example_job.cc
  ${PROJECT_SOURCE_DIR}/tests/support/faulty_file_system.cc ${PROJECT_SOURCE_DIR}/tests/support/thread_workers.cc)
target_link_libraries(ballast_checkpoints_testing PUBLIC ballast_checkpoints)

ballast_unit_test(checkpoints/round_trip USES checkpoints_testing)
target_compile_definitions(checkpoints_round_trip_test PRIVATE GOLDEN_CHECKPOINTS="${CMAKE_CURRENT_LIST_DIR}/golden")
ballast_unit_test(checkpoints/damage USES checkpoints_testing)
ballast_unit_test(checkpoints/crash USES checkpoints_testing TIMEOUT 300)
ballast_unit_test(checkpoints/manifest USES checkpoints_testing)
ballast_unit_test(checkpoints/state USES checkpoints_testing)
ballast_unit_test(checkpoints/layout USES checkpoints_testing hdf5)
ballast_unit_test(checkpoints/writer USES checkpoints_testing)
ballast_unit_test(checkpoints/file_system USES checkpoints_testing)
ballast_mpi_test(checkpoints/writer USES checkpoints_testing RANKS 1 2 3 4)
