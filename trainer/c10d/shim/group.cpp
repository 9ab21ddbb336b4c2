#include "handles.h"

#include <torch/csrc/distributed/c10d/comm.hpp>

#include <chrono>
#include <memory>
#include <vector>

using lockstep::guard;

namespace {

// Parameters are leaves that require gradients; a collective writes to their storage behind autograd's back.
std::vector<at::Tensor> detached(LsTensors tensors, size_t count) {
  auto list = lockstep::tensor_list(tensors, count);
  for (auto& tensor : list) {
    tensor = tensor.detach();
  }
  return list;
}

c10d::ReduceOp::RedOpType reduce_op(int op) {
  switch (op) {
    case LS_SUM:
      return c10d::ReduceOp::SUM;
    case LS_AVG:
      return c10d::ReduceOp::AVG;
    case LS_MIN:
      return c10d::ReduceOp::MIN;
    case LS_MAX:
      return c10d::ReduceOp::MAX;
    default:
      TORCH_CHECK(false, "no reduction has the number ", op);
  }
}

// c10d broadcasts lists in buffers of this size.
constexpr size_t kBroadcastBufferBytes = size_t{250} << 20;

}  // namespace

void ls_group_free(LsGroup* group) noexcept {
  guard([&] {
    const std::unique_ptr<LsGroup> owned(group);
    if (owned->abort_when_freed) {
      owned->group->abort();
    }
  });
}

int ls_all_reduce(LsGroup* group, at::Tensor* tensor, int op) noexcept {
  return guard([&] {
    auto tensors = detached(&tensor, 1);
    c10d::AllreduceOptions options;
    options.reduceOp = reduce_op(op);
    group->group->allreduce(tensors, options)->wait();
  });
}

int ls_all_reduce_start(LsGroup* group, at::Tensor* tensor, int op, LsWork** out) noexcept {
  return guard([&] {
    auto tensors = detached(&tensor, 1);
    c10d::AllreduceOptions options;
    options.reduceOp = reduce_op(op);
    *out = new LsWork{group->group->allreduce(tensors, options), tensors.front()};
  });
}

int ls_work_wait(LsWork* work) noexcept {
  return guard([&] { work->work->wait(); });
}

void ls_work_free(LsWork* work) noexcept {
  guard([&] { delete work; });
}

int ls_broadcast(LsGroup* group, at::Tensor* tensor, int root) noexcept {
  return guard([&] {
    auto tensors = detached(&tensor, 1);
    c10d::BroadcastOptions options;
    options.rootRank = root;
    group->group->broadcast(tensors, options)->wait();
  });
}

int ls_broadcast_coalesced(LsGroup* group, LsTensors tensors, size_t count, int root) noexcept {
  return guard([&] { c10d::broadcast_coalesced(group->group, detached(tensors, count), kBroadcastBufferBytes, root); });
}

int ls_all_gather(LsGroup* group, at::Tensor* output, at::Tensor* input) noexcept {
  return guard([&] {
    // Gloo takes the output apart along its first dimension and wants pieces of the input's shape: rows, so flat ones.
    auto out = output->detach().view(-1);
    auto in = input->detach().view(-1);
    group->group->_allgather_base(out, in)->wait();
  });
}

int ls_barrier(LsGroup* group, int64_t timeout_ms) noexcept {
  return guard([&] {
    c10d::BarrierOptions options;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    // Of the backend: in PyTorch 2.11, ProcessGroup's own writes a tensor that all groups of the process share, and two
    // threads free it twice (pytorch/pytorch#178896).
    group->group->getDefaultBackend()->barrier(options)->wait();
  });
}
