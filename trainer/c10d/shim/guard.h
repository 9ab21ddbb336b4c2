// Keeps C++ exceptions on this side of the C interface.
#pragma once

#include "shim.h"

#include <utility>
#include <vector>

namespace lockstep {

// Inside a catch block: stores the message of the exception in flight and says of which kind it is.
int record_exception() noexcept;

template <class Body>
int guard(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return LS_OK;
  } catch (...) {
    return record_exception();
  }
}

inline std::vector<at::Tensor> tensor_list(LsTensors tensors, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; i++) {
    list.push_back(*tensors[i]);
  }
  return list;
}

}  // namespace lockstep
