#include "guard.h"
#include "shim.h"

#include <ATen/core/Tensor.h>

using lockstep::guard;

int ls_to_gpu(at::Tensor* tensor, int device_index, at::Tensor** out) noexcept {
  return guard([&] {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(device_index));
    // The pinned copy is kept by the host's caching allocator until the device has read it, and its memory used again.
    *out = new at::Tensor(tensor->pin_memory().to(device, /*non_blocking=*/true));
  });
}
