# The emulator's own tests. Programs that end with an error run in processes of their own: cuda_emulator_scenario.
if(NOT TARGET cuda_emulator)
  return()
endif()

add_library(ballast_cuda_emulator_check STATIC cuda_emulator/scenarios/check.cc)
target_link_libraries(ballast_cuda_emulator_check PUBLIC cuda_emulator ballast_flags)

add_executable(cuda_emulator_scenario cuda_emulator/scenarios/blocks.cc cuda_emulator/scenarios/graphs.cc cuda_emulator/scenarios/main.cc
  cuda_emulator/scenarios/memory.cc cuda_emulator/scenarios/streams.cc)
target_link_libraries(cuda_emulator_scenario PRIVATE ballast_cuda_emulator_check)

ballast_unit_test(cuda_emulator/planted_bugs USES flags LABELS cuda TIMEOUT 1800)
add_dependencies(cuda_emulator_planted_bugs_test cuda_emulator_scenario)
target_compile_definitions(cuda_emulator_planted_bugs_test PRIVATE SCENARIO="$<TARGET_FILE:cuda_emulator_scenario>"
  SANITIZERS="${BALLAST_SANITIZE}")
ballast_unit_test(cuda_emulator/tile_instructions USES cuda_emulator_check LABELS cuda)
ballast_unit_test(cuda_emulator/cublaslt USES cuda_emulator_check LABELS cuda)
if(CUDA_EMULATOR_CUDNN_HEADERS)
  ballast_unit_test(cuda_emulator/cudnn USES cuda_emulator_check LABELS cuda)
endif()

# Starts mpirun itself: ranks that disagree must end, and say why.
add_executable(cuda_emulator_nccl_scenario cuda_emulator/scenarios/nccl.cc)
target_link_libraries(cuda_emulator_nccl_scenario PRIVATE ballast_cuda_emulator_check MPI::MPI_CXX)
ballast_unit_test(cuda_emulator/nccl USES flags TIMEOUT 600)
add_dependencies(cuda_emulator_nccl_test cuda_emulator_nccl_scenario)
target_compile_definitions(cuda_emulator_nccl_test PRIVATE MPIEXEC="${MPIEXEC_EXECUTABLE}"
  NCCL_SCENARIO="$<TARGET_FILE:cuda_emulator_nccl_scenario>")
set_tests_properties(cuda_emulator.nccl PROPERTIES LABELS "mpi;cuda" ENVIRONMENT "${BALLAST_MPI_ENVIRONMENT}")
