// The C interface of liblockstep_nccl.so, which src/cuda/library.rs repeats: change both together.
//
// The library is built against CUDA's and NCCL's headers and linked with neither: it is opened at run time, after
// libtorch_cuda.so, and only where there is a GPU. Codes and messages are those of shim.h; lsn_last_error() has the message.
#pragma once

#include "shim.h"

#define LSN_EXPORT __attribute__((visibility("default")))

extern "C" {

LSN_EXPORT const char* lsn_last_error() noexcept;

// Numbers as the makers count them: 13000 is CUDA 13.0, 22809 is NCCL 2.28.9.
typedef struct {
  char libtorch[16];  // of the headers
  int cuda;
  int nccl;
} LsnVersions;
LSN_EXPORT int lsn_versions(LsnVersions* out) noexcept;

// How many GPUs this process sees; none where there is no driver.
LSN_EXPORT int lsn_device_count(int* out) noexcept;

typedef struct {
  char name[256];
  int major;  // compute capability
  int minor;
  uint64_t memory_bytes;
} LsnDevice;
LSN_EXPORT int lsn_device(int device, LsnDevice* out) noexcept;

// Makes `device` the current one of this thread, and of libtorch's calls on it.
LSN_EXPORT int lsn_bind(int device) noexcept;

typedef struct {
  uint64_t allocated_bytes;       // held by tensors
  uint64_t reserved_bytes;        // taken from the device by libtorch
  uint64_t peak_allocated_bytes;  // since the process began
  uint64_t free_bytes;            // of the device, for all processes
} LsnMemory;
LSN_EXPORT int lsn_memory(int device, LsnMemory* out) noexcept;

// The generator of `device`: dropout, randn.
LSN_EXPORT int lsn_rng_seed(int device, uint64_t seed) noexcept;

// Kernels whose bits are the same each time; an operation that has none fails by name.
LSN_EXPORT int lsn_deterministic() noexcept;

// Connects to all ranks before it returns. Each collective of the group waits until it is complete on the device, or fails
// after its timeout.
LSN_EXPORT int lsn_group_new_nccl(const LsStore* store, int rank, int world_size, int device, int64_t timeout_ms,
                                  LsGroup** out) noexcept;

}  // extern "C"
