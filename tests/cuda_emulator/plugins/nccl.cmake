# The NCCL plugin's own sources against the emulator, whose NCCL goes over MPI.
include(${PROJECT_SOURCE_DIR}/comm/nccl/sources.cmake)
ballast_plugin(ballast_nccl_emulated FILE ballast_nccl FOLDER emulated
  SOURCES ${ballast_nccl_sources}
  LINKS ballast_compute cuda_emulator)
