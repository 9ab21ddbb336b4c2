// What libtorch's process groups read from the environment. This runs before main, while there is one thread; what a user has
// set stays.

#include <cstdlib>

namespace {

struct Setting {
  const char* name;
  const char* value;
};

constexpr Setting kSettings[] = {
    // The flight recorder notes every collective of the process, and adds each new group to a std::map without taking its
    // lock: groups that start on two threads at once can crash. Nobody reads it here, so it is off.
    {"TORCH_FR_BUFFER_SIZE", "0"},
    // A collective of NCCL's waits until the device has done it, and fails by an exception: the optimizer is launched only
    // once the gradients are complete, so that a lost peer leaves parameters whole.
    {"TORCH_NCCL_BLOCKING_WAIT", "1"},
    // Its other ways to notice a lost peer end the process without a word. The agent watches, and ends it with a reason.
    {"TORCH_NCCL_ENABLE_MONITORING", "0"},
    {"TORCH_NCCL_RETHROW_CUDA_ERRORS", "0"},
};

[[maybe_unused]] const bool set = [] {
  for (const auto& [name, value] : kSettings) {
    setenv(name, value, /*overwrite=*/0);
  }
  return true;
}();

}  // namespace
