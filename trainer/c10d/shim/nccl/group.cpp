#include "lockstep_nccl.h"

#include "handles.h"

#define USE_C10D_NCCL 1
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <ATen/ops/ones.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

using std::chrono::milliseconds;

int lsn_group_new_nccl(const LsStore* store, int rank, int world_size, int device_index, int64_t timeout_ms,
                       LsGroup** out) noexcept {
  return lockstep::guard([&] {
    const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(device_index));
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = milliseconds(timeout_ms);
    c10::intrusive_ptr<c10d::Backend> nccl =
        c10::make_intrusive<c10d::ProcessGroupNCCL>(store->store, rank, world_size, std::move(options));

    auto group = c10::make_intrusive<c10d::ProcessGroup>(store->store, rank, world_size);
    group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
    group->setDefaultBackend(c10d::ProcessGroup::BackendType::NCCL);
    group->setBoundDeviceId(device);
    nccl->setBoundDeviceId(device);
    std::unique_ptr<LsGroup> made(
        new LsGroup{std::move(group), milliseconds(timeout_ms), /*abort_when_freed=*/true});
    try {
      nccl->eagerConnectSingleDevice(device);
      // It connects here, or in the background with TORCH_NCCL_USE_COMM_NONBLOCKING: who has heard from all ranks is connected.
      std::vector<at::Tensor> tensors{at::ones({1}, at::TensorOptions(device))};
      made->group->allreduce(tensors)->wait();
    } catch (...) {
      // The others wait for this rank until its connections are closed.
      nccl->abort();
      throw;
    }
    *out = made.release();
  });
}
