#include "guard.h"
#include "shim.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

using lockstep::guard;

namespace {

// A function that lives elsewhere.
class Block : public torch::CustomClassHolder {
 public:
  Block(const LsBlockTable& table, void* context) : table_(table), context_(context) {}
  ~Block() override { table_.release(context_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  at::Tensor run(at::Tensor input) const {
    at::Tensor* made = nullptr;
    std::vector<uint8_t> problem;
    const int code = table_.forward(context_, &input, &made, &problem);
    const std::unique_ptr<at::Tensor> owned(made);
    TORCH_CHECK(code == 0 && owned, std::string(problem.begin(), problem.end()));
    return *owned;
  }

 private:
  LsBlockTable table_;
  void* context_;
};

at::Tensor draws_of(const at::Device& device) {
  auto generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_draws_of(const at::Device& device, const at::Tensor& state) {
  auto generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

// While it lives, this thread casts as is said here. What was cast is kept in the second pass only, and for that pass only: of
// casts in the first one there is no graph.
class Casts {
 public:
  Casts(at::DeviceType device, bool is_enabled, at::ScalarType dtype, bool keeps)
      : device_(device),
        was_enabled_(at::autocast::is_autocast_enabled(device)),
        was_dtype_(at::autocast::get_autocast_dtype(device)),
        was_cached_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_enabled(device, is_enabled);
    at::autocast::set_autocast_dtype(device, dtype);
    at::autocast::set_autocast_cache_enabled(keeps);
    if (keeps) {
      at::autocast::clear_cache();
    }
  }
  ~Casts() {
    if (at::autocast::is_autocast_cache_enabled()) {
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_enabled(device_, was_enabled_);
    at::autocast::set_autocast_dtype(device_, was_dtype_);
    at::autocast::set_autocast_cache_enabled(was_cached_);
  }
  Casts(const Casts&) = delete;
  Casts& operator=(const Casts&) = delete;

 private:
  at::DeviceType device_;
  bool was_enabled_;
  at::ScalarType was_dtype_;
  bool was_cached_;
};

// While it lives, the generator draws what it drew before; then it goes on where it was.
class Redraw {
 public:
  Redraw(const at::Device& device, const at::Tensor& state) : device_(device), now_(draws_of(device)) {
    set_draws_of(device, state);
  }
  ~Redraw() {
    guard([&] { set_draws_of(device_, now_); });
  }
  Redraw(const Redraw&) = delete;
  Redraw& operator=(const Redraw&) = delete;

 private:
  at::Device device_;
  at::Tensor now_;
};

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Recompute : public torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const c10::intrusive_ptr<Block>& block) {
    const auto device = input.device().type();
    const bool is_cast = at::autocast::is_autocast_enabled(device);
    const auto dtype = at::autocast::get_autocast_dtype(device);
    ctx->save_for_backward({input});
    ctx->saved_data["block"] = c10::IValue::make_capsule(block);
    ctx->saved_data["draws"] = draws_of(input.device());
    ctx->saved_data["is_cast"] = is_cast;
    ctx->saved_data["dtype"] = static_cast<int64_t>(dtype);
    const Casts casts(device, is_cast, dtype, /*keeps=*/false);
    return block->run(input);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto input = ctx->get_saved_variables()[0].detach().set_requires_grad(true);
    const auto block = c10::static_intrusive_pointer_cast<Block>(ctx->saved_data["block"].toCapsule());
    at::Tensor output;
    {
      const at::AutoGradMode with_graph(true);
      const Redraw redraw(input.device(), ctx->saved_data["draws"].toTensor());
      const Casts casts(input.device().type(), ctx->saved_data["is_cast"].toBool(),
                        static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt()), /*keeps=*/true);
      output = block->run(input);
    }
    torch::autograd::backward({output}, {grads[0]});
    return {input.grad(), at::Tensor()};
  }
};

}  // namespace

int ls_recompute(const LsBlockTable* table, void* context, at::Tensor* input, at::Tensor** out) noexcept {
  return guard([&] {
    std::unique_ptr<void, void (*)(void*)> owned(context, table->release);
    auto block = c10::make_intrusive<Block>(*table, context);
    owned.release();  // from here on the block releases it
    *out = new at::Tensor(Recompute::apply(*input, std::move(block)));
  });
}
