# Tests of the transport between devices.

# The product's plugin opens without a driver; it has nobody to talk to then.
if(TARGET ballast_nccl)
  ballast_unit_test(comm/transport USES comm)
  add_dependencies(comm_transport_test ballast_nccl)
  target_compile_definitions(comm_transport_test PRIVATE NCCL_VERSION="$<TARGET_PROPERTY:ballast_nccl,NCCL_VERSION>"
    PLUGINS="$<TARGET_FILE_DIR:ballast_nccl>")
endif()

if(TARGET ballast_nccl_emulated)
  # Against an NCCL that answers what the test tells it to.
  ballast_unit_test(comm/nccl_communicator USES comm thread_workers)
  target_sources(comm_nccl_communicator_test PRIVATE ${PROJECT_SOURCE_DIR}/comm/nccl/nccl_communicator.cc
    support/scripted_nccl.cc)
  target_include_directories(comm_nccl_communicator_test SYSTEM PRIVATE ${CUDA_EMULATOR_HEADERS} ${CUDA_EMULATOR_NCCL_HEADERS})

  ballast_mpi_test(comm/nccl_exchange USES comm comm_bodies RANKS 1 2 3 4 TIMEOUT 300)
  add_dependencies(comm_nccl_exchange_mpi_test ballast_cuda_emulated ballast_nccl_emulated)
  target_compile_definitions(comm_nccl_exchange_mpi_test PRIVATE EMULATED="$<TARGET_FILE_DIR:ballast_nccl_emulated>")
endif()
