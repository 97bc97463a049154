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

# The product's plugin starts without a driver; it has nobody to talk to then.
if(TARGET ballast_nccl)
  ballast_unit_test(comm/transport USES comm)
  add_dependencies(comm_transport_test ballast_nccl)
  target_compile_definitions(comm_transport_test PRIVATE NCCL_VERSION="${NCCL_VERSION}"
    PLUGINS="$<TARGET_FILE_DIR:ballast_nccl>")
endif()

if(TARGET ballast_nccl_emulated)
  ballast_mpi_test(comm/nccl_exchange USES comm comm_bodies RANKS 1 2 3 4 TIMEOUT 300)
  add_dependencies(comm_nccl_exchange_mpi_test ballast_cuda_emulated ballast_nccl_emulated)
  target_compile_definitions(comm_nccl_exchange_mpi_test PRIVATE EMULATED="$<TARGET_FILE_DIR:ballast_nccl_emulated>")
endif()
