#include "exchange.h"
#include "handles.h"
#include "one_shot.h"

#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

using lockstep::guard;

struct LsReducer {
  c10d::Reducer reducer;
  // What a hook of ours has begun in this backward pass. Without one it stays empty.
  std::shared_ptr<lockstep::Works> works = std::make_shared<lockstep::Works>();
};

namespace {

std::unique_ptr<c10d::CommHookInterface> hook_of(const LsGroup& group, int exchange,
                                                 const std::shared_ptr<lockstep::Works>& works) {
  switch (exchange) {
    case LS_ALL_REDUCE:
      return nullptr;
    case LS_ONE_SHOT:
      return lockstep::one_shot_hook(group);
    case LS_BF16:
      return lockstep::exchange_hook(group, at::kBFloat16, works);
    case LS_FP16:
      return lockstep::exchange_hook(group, at::kHalf, works);
    case LS_WAITED:
      return lockstep::exchange_hook(group, std::nullopt, works);
    default:
      TORCH_CHECK(false, "no exchange has the number ", exchange);
  }
}

}  // namespace

int ls_reducer_verify(LsGroup* group, LsTensors params, size_t count) noexcept {
  return guard(
      [&] { c10d::verify_params_across_processes(group->group, lockstep::tensor_list(params, count), std::nullopt); });
}

int ls_reducer_new(LsGroup* group, LsTensors params, const char* const* names, size_t count, LsBuckets buckets,
                   int exchange, LsReducer** out) noexcept {
  return guard([&] {
    std::vector<std::vector<size_t>> indices;
    const size_t* next = buckets.indices;
    for (size_t i = 0; i < buckets.count; i++) {
      indices.emplace_back(next, next + buckets.lengths[i]);
      next += buckets.lengths[i];
    }
    std::unordered_map<size_t, std::string> name_of;
    for (size_t i = 0; i < count; i++) {
      name_of.emplace(i, names[i]);
    }
    // Freed with its hooks if the next line throws: they hold its address.
    std::unique_ptr<LsReducer, decltype(&ls_reducer_free)> made(
        new LsReducer{c10d::Reducer(lockstep::tensor_list(params, count), std::move(indices), group->group,
                                       /*expect_sparse_gradients=*/std::vector<bool>(count, false), buckets.cap_bytes,
                                       /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
                                       std::move(name_of), buckets.first_cap_bytes,
                                       /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
                                       /*bucket_bytes_cap_list=*/{})},
        ls_reducer_free);
    if (auto hook = hook_of(*group, exchange, made->works)) {
      made->reducer.register_comm_hook(std::move(hook));
    }
    *out = made.release();
  });
}

void ls_reducer_free(LsReducer* reducer) noexcept {
  // The hooks hold the reducer's address: they go first. Its destructor may throw too.
  guard([&] { reducer->reducer.remove_autograd_hooks(); });
  guard([&] { delete reducer; });
}

int ls_reducer_backward(LsReducer* reducer, at::Tensor* loss, int64_t* exposed_ns) noexcept {
  return guard([&] {
    auto& r = reducer->reducer;
    // Each backward notes the order in which gradients arrive, for rebuild_buckets to use and clear. We never rebuild
    // (see BucketPlan), so the notes would grow for ever; resetting drops them.
    r.reset_state();
    reducer->works->clear();
    r.prepare_for_forward();
    // The Reducer notes when each gradient is there, from here on and by this clock.
    const int64_t begin = c10d::current_time_in_nanos();
    r.prepare_for_backward({});
    loss->backward();
    // Their futures only tell a GPU's stream to wait; this waits for the device, and finds a lost peer.
    for (const auto& work : *reducer->works) {
      work->wait();
    }
    const int64_t end = c10d::current_time_in_nanos();
    const auto ready = r.get_backward_stats();
    const int64_t last = ready.empty() ? 0 : *std::max_element(ready.begin(), ready.end());
    *exposed_ns = std::max<int64_t>(end - begin - last, 0);
    // Names the parameters that got no gradient at once; libtorch itself would say so one step later.
    r.check_finalized();
  });
}

int ls_backward(at::Tensor* loss) noexcept {
  return guard([&] { loss->backward(); });
}

int ls_bucket_assignment(LsTensors params, size_t count, const int64_t* order, size_t first_cap_bytes, size_t cap_bytes,
                         size_t* bucket_of) noexcept {
  return guard([&] {
    const auto all = lockstep::tensor_list(params, count);
    const std::vector<int64_t> indices(order, order + count);
    std::vector<at::Tensor> tensors;
    for (const int64_t index : indices) {
      tensors.push_back(all.at(index));
    }
    const auto assignment = c10d::compute_bucket_assignment_by_size(tensors, {first_cap_bytes, cap_bytes},
                                                                    std::vector<bool>(count, false), indices);
    const auto& buckets = std::get<0>(assignment);
    for (size_t bucket = 0; bucket < buckets.size(); bucket++) {
      for (const size_t index : buckets[bucket]) {
        bucket_of[index] = bucket;
      }
    }
  });
}
