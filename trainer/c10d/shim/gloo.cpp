// The only translation unit that sees ProcessGroupGloo, which it sees through the headers in gloo_stub.

#include "handles.h"

#define USE_C10D_GLOO 1
#include <torch/headeronly/version.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <sched.h>

#include <chrono>
#include <exception>
#include <memory>
#include <utility>

using std::chrono::milliseconds;

// Tripwires. The wheel has no Gloo headers, so the stubs stand in for them: that is sound while libtorch's classes hold
// Gloo's types behind pointers only. A libtorch that changes this changes these sizes. README.md says how to move on.
static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR == 11, "the Gloo stubs were checked against 2.11");
static_assert(sizeof(c10d::ProcessGroupGloo) == 488, "ProcessGroupGloo has another layout than the stubs assume");
static_assert(sizeof(c10d::ProcessGroupGloo::Options) == 176, "its Options have another layout");

namespace {

// The thread that a Gloo device makes polls the connections. When it wakes while another thread holds a connection's lock,
// it looks again and again; where it took that very thread's core to do so, both lose a time slice, and a step of a small
// model takes twice as long. A batch thread wakes without taking a core from anybody. Policies are inherited.
class BatchThreads {
 public:
  BatchThreads() : policy_(sched_getscheduler(0)) {
    if (policy_ == SCHED_OTHER) set(SCHED_BATCH);
  }
  ~BatchThreads() {
    if (policy_ == SCHED_OTHER) set(SCHED_OTHER);
  }
  BatchThreads(const BatchThreads&) = delete;
  BatchThreads& operator=(const BatchThreads&) = delete;

 private:
  // Only the speed depends on it, so a kernel that refuses is no error.
  static void set(int policy) {
    const sched_param none{};
    sched_setscheduler(0, policy, &none);
  }
  int policy_;
};

// An address that is not this machine's is the caller's mistake, not a lost peer: it gets an error of libtorch's kind.
std::shared_ptr<gloo::transport::Device> listen_on(const char* host, const char* interface) {
  const BatchThreads batch;
  try {
    return host != nullptr ? c10d::ProcessGroupGloo::createDeviceForHostname(host)
                           : c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  } catch (const c10::Error&) {
    throw;
  } catch (const std::exception& error) {
    C10_THROW_ERROR(Error, error.what());
  }
}

}  // namespace

struct LsDevice {
  std::shared_ptr<gloo::transport::Device> device;
};

int ls_device_new(const char* host, const char* interface, LsDevice** out) noexcept {
  return lockstep::guard([&] { *out = new LsDevice{listen_on(host, interface)}; });
}

void ls_device_free(LsDevice* device) noexcept {
  lockstep::guard([&] { delete device; });
}

int ls_group_new_gloo(const LsStore* store, int rank, int world_size, const LsDevice* device, int threads,
                      int64_t form_timeout_ms, int64_t collective_timeout_ms, LsGroup** out) noexcept {
  return lockstep::guard([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(form_timeout_ms));
    options->threads = threads;
    options->devices.push_back(device->device);
    c10::intrusive_ptr<c10d::Backend> gloo =
        c10::make_intrusive<c10d::ProcessGroupGloo>(store->store, rank, world_size, std::move(options));
    gloo->setTimeout(milliseconds(collective_timeout_ms));

    auto group = c10::make_intrusive<c10d::ProcessGroup>(store->store, rank, world_size);
    group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
    group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
    *out = new LsGroup{std::move(group), milliseconds(collective_timeout_ms)};
  });
}
