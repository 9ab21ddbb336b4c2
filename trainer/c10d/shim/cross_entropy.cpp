#include "guard.h"
#include "shim.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

using lockstep::guard;

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The dtype in which autocast would multiply here, or the tensor's own.
at::ScalarType compute_dtype(const at::Tensor& tensor) {
  const auto device = tensor.device().type();
  return at::autocast::is_autocast_enabled(device) ? at::autocast::get_autocast_dtype(device) : tensor.scalar_type();
}

// The sum of cross entropies of `hidden` times `head`, whose gradient is computed along with it: of the logits, and of what
// softmax makes of them, there is never more than one part. The operations are those of log_softmax and nll_loss with their
// backward, in their order.
class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& head,
                            const at::Tensor& targets, int64_t vocab, int64_t rows, bool with_gradient) {
    // Casts are made here, once for all parts.
    const auto dtype = compute_dtype(hidden);
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const auto x = hidden.to(dtype);
    const auto weight = head.to(dtype);
    auto loss = at::zeros({}, hidden.options().dtype(at::kFloat));
    at::Tensor of_hidden;
    at::Tensor of_head;
    if (with_gradient) {
      of_hidden = at::zeros_like(hidden);
      // Parts add up in 32 bits, whatever the head is in.
      of_head = at::zeros_like(head, head.options().dtype(at::kFloat));
    }
    for (int64_t begin = 0; begin < hidden.size(0); begin += rows) {
      const int64_t num = std::min(rows, hidden.size(0) - begin);
      const auto part = x.narrow(0, begin, num);
      const auto target = targets.narrow(0, begin, num).unsqueeze(1);
      auto logits = at::linear(part, weight);
      // Of rows that only pad the matrix there is no logit.
      auto seen = logits.narrow(1, 0, vocab);
      auto log_probabilities = at::_log_softmax(seen.to(at::kFloat), 1, /*half_to_float=*/false);
      loss.sub_(log_probabilities.gather(1, target).sum());
      if (!with_gradient) {
        continue;
      }
      auto gradient = log_probabilities.exp_();
      gradient.scatter_add_(1, target, at::full({num, 1}, -1.0, gradient.options()));
      // In the place of the logits, which nobody needs any more.
      seen.copy_(gradient);
      logits.narrow(1, vocab, logits.size(1) - vocab).zero_();
      of_hidden.narrow(0, begin, num).copy_(logits.matmul(weight));
      if (dtype == of_head.scalar_type()) {
        of_head.addmm_(logits.t(), part);
      } else {
        of_head.add_(logits.t().matmul(part));
      }
    }
    if (with_gradient) {
      context->save_for_backward({of_hidden, of_head.to(head.scalar_type())});
    }
    return loss;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto& scale = gradients[0];
    return {saved[0] * scale, saved[1] * scale, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

int ls_linear_cross_entropy(at::Tensor* hidden, at::Tensor* head, at::Tensor* targets, int64_t vocab, int64_t rows,
                            at::Tensor** loss) noexcept {
  return guard([&] {
    TORCH_CHECK(hidden->dim() == 2 && head->dim() == 2 && hidden->size(1) == head->size(1) && targets->dim() == 1 &&
                    targets->size(0) == hidden->size(0),
                "hidden is ", hidden->sizes(), ", the head ", head->sizes(), " and targets ", targets->sizes());
    TORCH_CHECK(0 < vocab && vocab <= head->size(0) && rows > 0, "a vocabulary of ", vocab, " in parts of ", rows);
    *loss = new at::Tensor(
        LinearCrossEntropy::apply(*hidden, *head, *targets, vocab, rows, at::GradMode::is_enabled()));
  });
}
