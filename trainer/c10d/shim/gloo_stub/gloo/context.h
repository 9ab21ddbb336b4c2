// Only ever behind a shared_ptr that libtorch made. ProcessGroupGloo::setTimeout is inline, hence the one member.
#pragma once

#include <chrono>

#include <gloo/transport/device.h>

namespace gloo {
class Context {
 public:
  Context() = delete;
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
