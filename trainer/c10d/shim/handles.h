// What the opaque handles of shim.h are.
#pragma once

#include "guard.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

struct LsStore {
  c10::intrusive_ptr<c10d::Store> store;
};

struct LsGroup {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
};
