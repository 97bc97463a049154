# Tests of the transport between devices: where NCCL's header is.
list(APPEND CMAKE_MODULE_PATH ${PROJECT_SOURCE_DIR}/cmake)
find_package(CUDAToolkit QUIET)
find_package(NCCL 2.18 QUIET)
if(NOT BALLAST_CUDA_EMULATED OR NOT NCCL_INCLUDE_DIR)
  return()
endif()

# Against an NCCL that answers what the test tells it to.
ballast_unit_test(comm/nccl_communicator USES comm thread_workers)
target_sources(comm_nccl_communicator_test PRIVATE ${PROJECT_SOURCE_DIR}/comm/nccl/nccl_communicator.cc
  support/scripted_nccl.cc)
target_include_directories(comm_nccl_communicator_test SYSTEM PRIVATE ${NCCL_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
