// Defines, for NVIDIA's compiler: block_shared, dynamic_shared and one function for each PTX instruction that CUDA C++
// has no name for. tests/cuda_emulator/include/ballast_device.h is its twin.
#pragma once

#include <cstdint>

namespace ballast::cuda {

/// The one object of type T of this block, not initialised. Two calls with one T in a kernel give one object: use one
/// struct for each kernel.
template <class T>
__device__ __forceinline__ T& block_shared() {
  __shared__ T object;
  return object;
}

/// The block's dynamic shared memory, aligned to 16 bytes; its size is launch()'s `shared_bytes`.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char ballast_dynamic_shared[];
  return reinterpret_cast<T*>(ballast_dynamic_shared);
}

namespace device {

/// The address of shared memory as instructions on shared memory take it.
__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

}  // namespace device

/// d += a b over a warp: a is 16 x 16 and b is 16 x 8 in bf16, d is 16 x 8 in f32. How fragments lie over the lanes:
/// PTX ISA, "Matrix fragments for mma.m16n8k16".
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 2-byte elements: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned),
/// and gets elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each matrix.
__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(device::shared_address(shared_row))
               : "memory");
}

/// The same with each matrix transposed on its way to the registers.
__device__ __forceinline__ void load_matrix_x4_transposed(std::uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(device::shared_address(shared_row))
               : "memory");
}

/// Starts copying 16 bytes, both ends aligned to 16; complete after copy_async_wait() for its group and a barrier.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(device::shared_address(shared)), "l"(global)
               : "memory");
}

/// Closes the group of the copies that this thread has started since the last one.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most N of this thread's groups are under way.
template <int N>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace ballast::cuda
