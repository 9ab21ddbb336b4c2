#include "guard.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <memory>
#include <optional>
#include <vector>

using lockstep::guard;
using lockstep::tensor_list;

namespace {

std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& params) {
  std::vector<at::Tensor> grads;
  grads.reserve(params.size());
  for (size_t i = 0; i < params.size(); i++) {
    const auto& grad = params[i].grad();
    TORCH_CHECK(grad.defined(), "parameter ", i, " of ", params.size(), " has no gradient");
    grads.push_back(grad);
  }
  return grads;
}

std::optional<at::Tensor> optional(const at::Tensor* tensor) {
  return tensor == nullptr ? std::nullopt : std::optional<at::Tensor>(*tensor);
}

}  // namespace

int ls_adamw_step(LsTensors params, LsTensors exp_avgs, LsTensors exp_avg_sqs, size_t count, size_t num_decaying,
                  at::Tensor* step, at::Tensor* skip, LsAdamW options) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    // Before anything changes: one of them may have no gradient.
    const auto grads = gradients(tensor_list(params, count));
    step->add_(1);
    const auto update = [&](size_t begin, size_t end, double weight_decay) {
      const size_t num = end - begin;
      if (num == 0) {
        return;
      }
      auto parameters = tensor_list(params + begin, num);
      // All parameters have taken the same number of steps: one counter, named once for each.
      const std::vector<at::Tensor> steps(num, *step);
      at::_fused_adamw_(parameters, std::vector(grads.begin() + begin, grads.begin() + end),
                        tensor_list(exp_avgs + begin, num), tensor_list(exp_avg_sqs + begin, num), {}, steps,
                        options.lr, options.beta1, options.beta2, weight_decay, options.eps, /*amsgrad=*/false,
                        /*maximize=*/false, /*grad_scale=*/{}, optional(skip));
    };
    update(0, num_decaying, options.weight_decay);
    update(num_decaying, count, 0.0);
    if (skip != nullptr) {
      step->sub_(*skip);
    }
  });
}

int ls_sgd_step(LsTensors params, LsTensors momentum_buffers, size_t count, size_t num_decaying, at::Tensor* skip,
                LsSgd options) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    const auto grads = gradients(tensor_list(params, count));
    const auto update = [&](size_t begin, size_t end, double weight_decay) {
      const size_t num = end - begin;
      if (num == 0) {
        return;
      }
      auto parameters = tensor_list(params + begin, num);
      const auto buffers = momentum_buffers == nullptr ? std::vector<at::Tensor>()
                                                       : tensor_list(momentum_buffers + begin, num);
      // The buffers start as zeros, so that the first step is like any other and a skipped one needs no special case.
      at::_fused_sgd_(parameters, std::vector(grads.begin() + begin, grads.begin() + end), buffers, weight_decay,
                      options.momentum, options.lr, /*dampening=*/0.0, options.nesterov != 0, /*maximize=*/false,
                      /*is_first_step=*/false, /*grad_scale=*/{}, optional(skip));
    };
    update(0, num_decaying, options.weight_decay);
    update(num_decaying, count, 0.0);
  });
}

int ls_clip_grad_norm(LsTensors params, size_t count, double max_norm, at::Tensor** norm,
                      at::Tensor** non_finite) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    const auto grads = gradients(tensor_list(params, count));
    const auto total = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads, 2)), 2);
    // x - x is 0 for a finite x and not a number for any other: a third of isfinite's kernels.
    const auto flag = total.sub(total).ne(0).to(at::kFloat);
    if (max_norm >= 0) {
      // The operations of torch.nn.utils.clip_grad_norm_, in its order: the bits are the same.
      const auto factor = total.add(1e-6).reciprocal().mul(max_norm).clamp_max(1.0);
      at::_foreach_mul_(grads, factor);
    }
    auto owned_norm = std::make_unique<at::Tensor>(total);
    *non_finite = new at::Tensor(flag);
    *norm = owned_norm.release();
  });
}

int ls_zero_grad(LsTensors params, size_t count) noexcept {
  return guard([&] {
    for (size_t i = 0; i < count; i++) {
      params[i]->mutable_grad().reset();
    }
  });
}
