#include "guard.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

using lockstep::guard;

int ls_rng_seed(uint64_t seed) noexcept {
  return guard([&] {
    auto generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(seed);
  });
}

int ls_rng_state(at::Tensor** out) noexcept {
  return guard([&] {
    auto generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard<std::mutex> lock(generator.mutex());
    *out = new at::Tensor(generator.get_state());
  });
}

int ls_rng_set_state(at::Tensor* state) noexcept {
  return guard([&] {
    auto generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}

int ls_rng_state_of(uint64_t seed, at::Tensor** out) noexcept {
  return guard([&] { *out = new at::Tensor(at::detail::createCPUGenerator(seed).get_state()); });
}
