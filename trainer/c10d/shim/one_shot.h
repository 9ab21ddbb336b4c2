// An average over the ranks in one exchange, for gradients that are so few that the rounds of a ring cost more than the bytes.
#pragma once

#include "handles.h"

#include <torch/csrc/distributed/c10d/comm.hpp>

#include <memory>

namespace lockstep {

// Every rank sends its bucket to every other and adds up all of them in the order of the ranks, so that all get the same
// bits. It is done when the hook returns: nothing overlaps with it, so it is meant for models of a single bucket.
std::unique_ptr<c10d::CommHookInterface> one_shot_hook(const LsGroup& group);

}  // namespace lockstep
