#include "guard.h"
#include "shim.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/batch_norm_update_stats.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

using lockstep::guard;

namespace {

// The ranks that a sum goes over, which live elsewhere.
class Peers : public torch::CustomClassHolder {
 public:
  Peers(const LsPeersTable& table, void* context) : table_(table), context_(context) {}
  ~Peers() override { table_.release(context_); }
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  void sum(at::Tensor numbers) const {
    std::vector<uint8_t> problem;
    const int code = table_.sum(context_, &numbers, &problem);
    const std::string text(problem.begin(), problem.end());
    TORCH_CHECK(code != LS_TORCH, text);
    if (code != LS_OK) {
      // As a failed all-reduction of gradients: whoever called backward has lost a peer.
      C10_THROW_ERROR(DistBackendError, text);
    }
  }

 private:
  LsPeersTable table_;
  void* context_;
};

// Of all samples of all ranks, in f32; a channel has `count` numbers, in one element.
struct Statistics {
  at::Tensor mean;
  at::Tensor variance;
  at::Tensor unbiased;
  at::Tensor count;
};

// From each rank's own, a row for each. The squares are around the common mean, so nothing large cancels out (Chan and others,
// 1983); rows are added up in their order, so all ranks get the same bits.
Statistics combined(const at::Tensor& of_ranks) {
  const auto all = of_ranks.to(at::kDouble);
  const int64_t channels = all.size(1) / 2;
  const auto means = all.narrow(1, 0, channels);
  const auto variances = all.narrow(1, channels, channels);
  const auto counts = all.narrow(1, 2 * channels, 1);
  const auto count = counts.sum(0);
  // Of nothing, and of a single number, everything is 0.
  const auto mean = (means * counts).sum(0) / count.clamp_min(1);
  const auto squares = ((variances + (means - mean).square()) * counts).sum(0);
  return {mean.to(at::kFloat), (squares / count.clamp_min(1)).to(at::kFloat),
          (squares / (count - 1).clamp_min(1)).to(at::kFloat), count.clamp_min(1).to(at::kFloat)};
}

// By statistics that are given. As in libtorch's own functions, no kernel sees an empty input: one divides by its size.
at::Tensor normalised(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& mean,
                      const at::Tensor& variance, double eps) {
  if (input.numel() == 0) {
    return at::empty_like(input);
  }
  return std::get<0>(
      at::native_batch_norm(input, weight, bias, mean, variance, /*training=*/false, /*momentum=*/0.0, eps));
}

// Gradients of input, weight and bias where the statistics depend on nothing.
std::tuple<at::Tensor, at::Tensor, at::Tensor> normalised_backward(const at::Tensor& grad, const at::Tensor& input,
                                                                   const at::Tensor& weight, const at::Tensor& mean,
                                                                   const at::Tensor& variance, double eps) {
  if (input.numel() == 0) {
    return {at::empty_like(input), at::zeros_like(weight), at::zeros_like(weight)};
  }
  const auto none = at::empty({0}, mean.options());
  return at::native_batch_norm_backward(grad, input, weight, mean, variance, none, none, /*train=*/false, eps,
                                        {true, true, true});
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Normalises as evaluation does, by statistics that are given; but backward knows that they are the input's own.
struct SyncedBatchNorm : public torch::autograd::Function<SyncedBatchNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& count, double eps,
                            const c10::intrusive_ptr<Peers>& peers) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    ctx->save_for_backward({input, weight, mean, variance, count});
    ctx->saved_data["eps"] = eps;
    ctx->saved_data["peers"] = c10::IValue::make_capsule(peers);
    return normalised(input, weight, bias, mean, variance, eps);
  }

  // With x' for a normalised input: dx = weight / deviation * (dy - mean(dy) - x' * mean(dy * x')), where the means are over all
  // ranks. Gradients of weight and bias are sums over this rank's samples, as everybody else's are: the reducer adds them up.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "a synchronised batch normalisation has no second derivative");
    const auto saved = ctx->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1], &mean = saved[2], &variance = saved[3], &count = saved[4];
    const double eps = ctx->saved_data["eps"].toDouble();
    const auto peers = c10::static_intrusive_pointer_cast<Peers>(ctx->saved_data["peers"].toCapsule());
    const auto grad = grads[0].contiguous(input.suggest_memory_format());
    auto [of_input, of_weight, of_bias] = normalised_backward(grad, input, weight, mean, variance, eps);
    auto means = at::cat({of_weight, of_bias});
    peers->sum(means);
    means.div_(count);
    const int64_t channels = mean.size(0);
    const auto scale = (variance + eps).rsqrt().mul_(weight).neg_();
    // What is missing is a multiple of x' and a shift: another normalisation.
    of_input.add_(normalised(input, scale * means.narrow(0, 0, channels), scale * means.narrow(0, channels, channels), mean,
                             variance, eps));
    const at::Tensor no;
    return {of_input, of_weight, of_bias, no, no, no, no, no};
  }
};

}  // namespace

int ls_batch_norm_stats(at::Tensor* input, at::Tensor** out) noexcept {
  return guard([&] {
    const at::NoGradGuard no_grad;
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const int64_t channels = input->size(1);
    const auto options = input->options().dtype(at::kFloat);
    auto all = at::zeros({2 * channels + 1}, options);
    if (input->numel() > 0) {
      // The kernel wants running statistics, whose kind is that of what it returns; these are nobody's.
      const auto [mean, variance] = at::batch_norm_update_stats(*input, at::zeros({channels}, options),
                                                                at::zeros({channels}, options), /*momentum=*/0.0);
      all.narrow(0, 0, channels).copy_(mean);
      all.narrow(0, channels, channels).copy_(variance);
      all.narrow(0, 2 * channels, 1).fill_(input->numel() / channels);
    }
    *out = new at::Tensor(std::move(all));
  });
}

int ls_batch_norm(const LsPeersTable* table, void* context, at::Tensor* input, at::Tensor* weight, at::Tensor* bias,
                  at::Tensor* of_ranks, at::Tensor* mean, at::Tensor* variance, double eps, at::Tensor** out) noexcept {
  return guard([&] {
    std::unique_ptr<void, void (*)(void*)> owned(context, table->release);
    auto peers = c10::make_intrusive<Peers>(*table, context);
    owned.release();  // from here on they release it
    Statistics all;
    {
      const at::NoGradGuard no_grad;
      all = combined(*of_ranks);
      mean->copy_(all.mean);
      variance->copy_(all.unbiased);
    }
    *out = new at::Tensor(
        SyncedBatchNorm::apply(*input, *weight, *bias, all.mean, all.variance, all.count, eps, std::move(peers)));
  });
}
