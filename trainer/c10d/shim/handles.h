// What the opaque handles of shim.h are.
#pragma once

#include "guard.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>

struct LsStore {
  c10::intrusive_ptr<c10d::Store> store;
};

struct LsWork {
  c10::intrusive_ptr<c10d::Work> work;
  // Its storage is written to until the work is complete.
  at::Tensor tensor;
};

struct LsGroup {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  // How long one operation may take.
  std::chrono::milliseconds timeout;
  // NCCL's groups keep their peers waiting unless they are aborted; Gloo's close their connections anyway.
  bool abort_when_freed = false;
};
