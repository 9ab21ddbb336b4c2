#include "guard.h"
#include "shim.h"

#include <ATen/autocast_mode.h>

#include <memory>

using lockstep::guard;

struct LsAutocast {
  at::DeviceType device;
  bool was_enabled;
  at::ScalarType was_dtype;
};

int ls_autocast_new(at::Tensor* like, LsAutocast** out) noexcept {
  return guard([&] {
    const auto device = like->device().type();
    auto made = std::make_unique<LsAutocast>(
        LsAutocast{device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)});
    at::autocast::set_autocast_dtype(device, like->scalar_type());
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
    *out = made.release();
  });
}

void ls_autocast_free(LsAutocast* autocast) noexcept {
  guard([&] {
    const std::unique_ptr<LsAutocast> owned(autocast);
    // What was cast is kept until the outermost one ends: a parameter is cast once for all its uses.
    if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_enabled(owned->device, owned->was_enabled);
    at::autocast::set_autocast_dtype(owned->device, owned->was_dtype);
  });
}
