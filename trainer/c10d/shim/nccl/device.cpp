#include "lockstep_nccl.h"

#include "guard.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <mutex>

using lockstep::guard;

const char* lsn_last_error() noexcept { return ls_last_error(); }

int lsn_versions(LsnVersions* out) noexcept {
  return guard([&] {
    *out = {};
    std::snprintf(out->libtorch, sizeof out->libtorch, "%d.%d.%d", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR,
                  TORCH_VERSION_PATCH);
    TORCH_CHECK(cudaRuntimeGetVersion(&out->cuda) == cudaSuccess, "CUDA's runtime does not tell its version");
    TORCH_CHECK(ncclGetVersion(&out->nccl) == ncclSuccess, "NCCL does not tell its version");
  });
}

int lsn_device_count(int* out) noexcept {
  return guard([&] { *out = c10::cuda::device_count(); });
}

int lsn_device(int device, LsnDevice* out) noexcept {
  return guard([&] {
    cudaDeviceProp properties{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    *out = {};
    std::snprintf(out->name, sizeof out->name, "%s", properties.name);
    out->major = properties.major;
    out->minor = properties.minor;
    out->memory_bytes = properties.totalGlobalMem;
  });
}

int lsn_bind(int device) noexcept {
  return guard([&] { c10::cuda::set_device(static_cast<c10::DeviceIndex>(device)); });
}

int lsn_memory(int device_index, LsnMemory* out) noexcept {
  return guard([&] {
    using c10::CachingAllocator::StatType;
    const auto device = static_cast<c10::DeviceIndex>(device_index);
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device);
    const auto all = static_cast<size_t>(StatType::AGGREGATE);
    size_t free = 0;
    size_t total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    out->allocated_bytes = static_cast<uint64_t>(stats.allocated_bytes[all].current);
    out->reserved_bytes = static_cast<uint64_t>(stats.reserved_bytes[all].current);
    out->peak_allocated_bytes = static_cast<uint64_t>(stats.allocated_bytes[all].peak);
    out->free_bytes = free;
  });
}

int lsn_rng_seed(int device, uint64_t seed) noexcept {
  return guard([&] {
    auto generator = at::cuda::detail::getDefaultCUDAGenerator(static_cast<c10::DeviceIndex>(device));
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(seed);
  });
}

int lsn_deterministic() noexcept {
  return guard([&] {
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(/*b=*/true, /*warn_only=*/false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
  });
}
