#include "guard.h"
#include "shim.h"

#include <ATen/record_function.h>

#include <memory>
#include <string_view>

using lockstep::guard;

namespace {

// A thread's one counter that is being kept; callbacks are bare functions, so it is found here.
thread_local uint64_t* counting = nullptr;

// What `item` and all its kin come down to, and what has to know how many elements there are.
bool is_read(std::string_view op) {
  return op == "aten::_local_scalar_dense" || op == "aten::nonzero";
}

std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& op) {
  if (counting != nullptr && is_read(op.name())) {
    ++*counting;
  }
  return nullptr;
}

}  // namespace

struct LsReads {
  uint64_t count = 0;
  at::CallbackHandle callback = 0;
};

int ls_reads_new(LsReads** out) noexcept {
  return guard([&] {
    TORCH_CHECK(counting == nullptr, "this thread counts already");
    auto made = std::make_unique<LsReads>();
    made->callback = at::addThreadLocalCallback(at::RecordFunctionCallback(count).scopes({at::RecordScope::FUNCTION}));
    counting = &made->count;
    *out = made.release();
  });
}

int ls_reads_count(const LsReads* reads, uint64_t* out) noexcept {
  return guard([&] { *out = reads->count; });
}

void ls_reads_free(LsReads* reads) noexcept {
  guard([&] {
    counting = nullptr;
    at::removeCallback(reads->callback);
    delete reads;
  });
}
