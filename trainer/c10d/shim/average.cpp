#include "guard.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sub.h>

using lockstep::guard;
using lockstep::tensor_list;

int ls_average_step(LsTensors averages, LsTensors params, size_t count, at::Tensor* skip, double weight) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    const auto into = tensor_list(averages, count);
    // On the device, like the flag: nobody waits for it. The fused _foreach_lerp_ takes a number of the host's only.
    const auto share = skip->neg().add(1).mul(weight);
    const auto moves = at::_foreach_sub(tensor_list(params, count), into);
    at::_foreach_mul_(moves, share);
    at::_foreach_add_(into, moves);
  });
}
