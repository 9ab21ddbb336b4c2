#include "exchange.h"

#include <utility>
#include <vector>

namespace {

class Exchange final : public c10d::CommHookInterface {
 public:
  Exchange(const LsGroup& group, std::optional<at::ScalarType> kind, std::shared_ptr<lockstep::Works> works)
      : group_(group), kind_(kind), works_(std::move(works)) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    auto whole = bucket.getBufferRef();
    // The bucket itself, where its kind stays.
    std::vector<at::Tensor> sent{whole.to(kind_.value_or(whole.scalar_type())).div_(group_.group->getSize())};
    auto work = group_.group->allreduce(sent);
    works_->push_back(work);
    // On a thread or a stream of the group's: the reducer waits for it at the end of backward.
    return work->getFuture()->then(
        [whole, sent](c10::ivalue::Future& done) -> c10::IValue {
          // Throws what the all-reduction failed with.
          done.value();
          if (!sent.front().is_same(whole)) {
            whole.copy_(sent.front());
          }
          return whole;
        },
        c10::TensorType::get());
  }

  at::Tensor parseHookResult(const c10::IValue& result) override { return result.toTensor(); }

 private:
  LsGroup group_;
  std::optional<at::ScalarType> kind_;
  std::shared_ptr<lockstep::Works> works_;
};

}  // namespace

std::unique_ptr<c10d::CommHookInterface> lockstep::exchange_hook(const LsGroup& group, std::optional<at::ScalarType> kind,
                                                                 std::shared_ptr<Works> works) {
  return std::make_unique<Exchange>(group, kind, std::move(works));
}
