# The sources of the CUDA plugin but the one that CMake chooses, cudnn.cc or cudnn_absent.cc, built twice: by nvcc for the product (CMakeLists.txt beside this file) and by the C++ compiler against the
# emulator (tests/cuda_emulator/plugins).
set(ballast_cuda_kernels columns.cu compression.cu dropout.cu elementwise.cu reduction.cu update.cu
  attention.cu attention_bf16.cu attention_f32.cu batch_norm.cu convolution.cu embedding.cu index_check.cu layer_norm.cu loss.cu
  pooling.cu)
set(ballast_cuda_host copies.cc cuda_backend.cc cuda_backend_kernels.cc device_pool.cc find_devices.cc graph_chains.cc matmul.cc pieces.cc plugin.cc queue.cc)
list(TRANSFORM ballast_cuda_kernels PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(TRANSFORM ballast_cuda_host PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
