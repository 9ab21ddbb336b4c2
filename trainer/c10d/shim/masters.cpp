#include "guard.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>

using lockstep::guard;
using lockstep::tensor_list;

int ls_lift_gradients(LsTensors rounded, LsTensors masters, size_t count) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    // Before anything changes: one of them may have no gradient.
    for (size_t i = 0; i < count; i++) {
      TORCH_CHECK(rounded[i]->grad().defined(), "parameter ", i, " of ", count, " has no gradient");
    }
    for (size_t i = 0; i < count; i++) {
      masters[i]->mutable_grad() = rounded[i]->grad().to(masters[i]->scalar_type());
    }
  });
}

int ls_round_masters(LsTensors rounded, LsTensors masters, size_t count) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    auto into = tensor_list(rounded, count);
    at::_foreach_copy_(into, tensor_list(masters, count));
  });
}

int ls_scale_gradients(LsTensors params, size_t count, at::Tensor* factor) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> grads;
    grads.reserve(count);
    for (size_t i = 0; i < count; i++) {
      TORCH_CHECK(params[i]->grad().defined(), "parameter ", i, " of ", count, " has no gradient");
      grads.push_back(params[i]->grad());
    }
    at::_foreach_mul_(grads, *factor);
  });
}
