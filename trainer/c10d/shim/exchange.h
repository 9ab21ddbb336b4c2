// An average over the ranks that the host can wait for, in a shorter kind of numbers for networks that are slower than the cast.
#pragma once

#include "handles.h"

#include <torch/csrc/distributed/c10d/comm.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace lockstep {

// All-reductions of one backward pass, in the order in which they began.
using Works = std::vector<c10::intrusive_ptr<c10d::Work>>;

// As PyTorch's bf16_compress_hook and fp16_compress_hook: each rank casts its bucket to `kind`, if one is given, and divides it by
// the number of ranks; the sum, which all get with the same bits, is copied back. It goes on beside backward, as without it. `works`
// gets every all-reduction that it begins: the Reducer itself only lets a GPU's stream wait for them.
std::unique_ptr<c10d::CommHookInterface> exchange_hook(const LsGroup& group, std::optional<at::ScalarType> kind,
                                                       std::shared_ptr<Works> works);

}  // namespace lockstep
