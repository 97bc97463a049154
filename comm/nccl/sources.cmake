# What ballast_nccl.so is made of, for the product and for the emulator.
set(ballast_nccl_sources nccl_communicator.cc nccl_exchange.cc plugin.cc)
list(TRANSFORM ballast_nccl_sources PREPEND ${PROJECT_SOURCE_DIR}/comm/nccl/)
