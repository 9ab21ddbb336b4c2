// The C interface between libtorch's c10d and src/ffi.rs, which repeats these declarations: change both together.
//
// Every function that returns a Code catches all exceptions; on failure ls_last_error() has the message, on the
// thread that called. Tensors are borrowed for the length of a call, unless a comment says otherwise.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>

extern "C" {

typedef struct LsStore LsStore;
typedef struct LsGroup LsGroup;
typedef struct LsReducer LsReducer;
typedef struct LsWork LsWork;
typedef at::Tensor* const* LsTensors;

enum LsCode : int {
  LS_OK = 0,
  LS_TORCH = 1,        // libtorch refused: wrong shape, wrong dtype, out of memory, ...
  LS_STORE = 2,        // the store failed or timed out
  LS_DISTRIBUTED = 3,  // c10d's own network, timeout and backend errors
  LS_FOREIGN = 4,      // not libtorch's exception: Gloo's are of this kind
};

const char* ls_last_error() noexcept;

// store.cpp: a c10d::Store whose work is done by a table of functions.

// A key of `size` bytes of UTF-8. Values are any bytes.
typedef struct {
  const char* data;
  size_t size;
} LsKey;

typedef struct {
  const uint8_t* data;
  size_t size;
} LsBytes;

// The functions return 0 for success. `sink` is passed on to ls_sink_fill, at most once.
typedef struct {
  int (*set)(void* context, LsKey key, LsBytes value);
  int (*get)(void* context, LsKey key, int64_t timeout_ms, void* sink);
  int (*add)(void* context, LsKey key, int64_t amount, int64_t* sum);
  int (*compare_set)(void* context, LsKey key, LsBytes expected, LsBytes desired, void* sink);
  int (*remove)(void* context, LsKey key, int* removed);
  int (*check)(void* context, LsKey key, int* present);
  int (*wait)(void* context, LsKey key, int64_t timeout_ms);
  void (*release)(void* context);
} LsStoreTable;

int ls_sink_fill(void* sink, LsBytes value) noexcept;
// Takes `context` over, also when it fails: `release` is called on it in the end.
int ls_store_new(const LsStoreTable* table, void* context, LsStore** out) noexcept;
void ls_store_free(LsStore* store) noexcept;

// gloo.cpp: a device listens. One of `host` and `interface` names where, the other is null.
typedef struct LsDevice LsDevice;
int ls_device_new(const char* host, const char* interface, LsDevice** out) noexcept;
void ls_device_free(LsDevice* device) noexcept;
int ls_group_new_gloo(const LsStore* store, int rank, int world_size, const LsDevice* device, int threads,
                      int64_t form_timeout_ms, int64_t collective_timeout_ms, LsGroup** out) noexcept;

// group.cpp: each waits until its operation is complete, unless a comment says otherwise.

enum LsReduceOp : int { LS_SUM = 0, LS_AVG = 1, LS_MIN = 2, LS_MAX = 3 };

void ls_group_free(LsGroup* group) noexcept;
int ls_all_reduce(LsGroup* group, at::Tensor* tensor, int op) noexcept;
// Doesn't wait. The work holds the tensor's storage, which is complete once ls_work_wait has returned.
int ls_all_reduce_start(LsGroup* group, at::Tensor* tensor, int op, LsWork** out) noexcept;
int ls_work_wait(LsWork* work) noexcept;
void ls_work_free(LsWork* work) noexcept;
int ls_broadcast(LsGroup* group, at::Tensor* tensor, int root) noexcept;
int ls_broadcast_coalesced(LsGroup* group, LsTensors tensors, size_t count, int root) noexcept;
int ls_all_gather(LsGroup* group, at::Tensor* output, at::Tensor* input) noexcept;
int ls_barrier(LsGroup* group, int64_t timeout_ms) noexcept;

// reducer.cpp

// Bucket i holds the next lengths[i] of `indices`.
typedef struct {
  const size_t* lengths;
  size_t count;
  const size_t* indices;
  int64_t first_cap_bytes;
  int64_t cap_bytes;
} LsBuckets;

// How gradients are averaged over the ranks.
enum LsExchange : int {
  LS_ALL_REDUCE = 0,
  LS_ONE_SHOT = 1,  // each rank sends its own to every other at once
  LS_BF16 = 2,      // all-reduced in this kind
  LS_FP16 = 3,
  LS_WAITED = 4,  // all-reduced as they are; backward ends once that is complete, on a GPU too
};

int ls_reducer_verify(LsGroup* group, LsTensors params, size_t count) noexcept;
int ls_reducer_new(LsGroup* group, LsTensors params, const char* const* names, size_t count, LsBuckets buckets,
                   int exchange, LsReducer** out) noexcept;
void ls_reducer_free(LsReducer* reducer) noexcept;
// `exposed_ns`: from the moment when this rank has its last gradient until all gradients are averaged.
int ls_reducer_backward(LsReducer* reducer, at::Tensor* loss, int64_t* exposed_ns) noexcept;
int ls_backward(at::Tensor* loss) noexcept;
// libtorch's own assignment, for comparison: writes the bucket of each of `order`'s parameters to `bucket_of`.
int ls_bucket_assignment(LsTensors params, size_t count, const int64_t* order, size_t first_cap_bytes, size_t cap_bytes,
                         size_t* bucket_of) noexcept;

// optim.cpp: each reads the parameters' gradients and fails if one has none. `skip` may be null; a tensor that holds
// 1 leaves parameters and state as they are.

typedef struct {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
} LsAdamW;

typedef struct {
  double lr;
  double momentum;
  double weight_decay;
  int nesterov;
} LsSgd;

// Weights decay of the first `num_decaying` parameters only.
int ls_adamw_step(LsTensors params, LsTensors exp_avgs, LsTensors exp_avg_sqs, size_t count, size_t num_decaying,
                  at::Tensor* step, at::Tensor* skip, LsAdamW options) noexcept;
// `momentum_buffers` is null when the momentum is 0.
int ls_sgd_step(LsTensors params, LsTensors momentum_buffers, size_t count, size_t num_decaying, at::Tensor* skip,
                LsSgd options) noexcept;
// Scales the gradients down to max_norm unless that is negative. The caller owns the two new tensors.
int ls_clip_grad_norm(LsTensors params, size_t count, double max_norm, at::Tensor** norm,
                      at::Tensor** non_finite) noexcept;
int ls_zero_grad(LsTensors params, size_t count) noexcept;

// masters.cpp: of parameters that are rounded copies of `masters`, in their order.
int ls_lift_gradients(LsTensors rounded, LsTensors masters, size_t count) noexcept;
int ls_round_masters(LsTensors rounded, LsTensors masters, size_t count) noexcept;
// `factor` has no dimensions.
int ls_scale_gradients(LsTensors params, size_t count, at::Tensor* factor) noexcept;

// average.cpp: averages move by the share `weight` towards the parameters, unless `skip`, without dimensions, holds 1.
int ls_average_step(LsTensors averages, LsTensors params, size_t count, at::Tensor* skip, double weight) noexcept;

// cross_entropy.cpp: in parts of so many rows. The caller owns the new tensor.
int ls_linear_cross_entropy(at::Tensor* hidden, at::Tensor* head, at::Tensor* targets, int64_t vocab, int64_t rows,
                            at::Tensor** loss) noexcept;

// autocast.cpp: until it is freed, on this thread, operations on `like`'s device compute in its dtype where that gains.
typedef struct LsAutocast LsAutocast;
int ls_autocast_new(at::Tensor* like, LsAutocast** out) noexcept;
void ls_autocast_free(LsAutocast* autocast) noexcept;

// recompute.cpp: a function of a tensor, which backward calls again instead of keeping what lies between.

// Returns 0 and makes a new tensor, which the shim owns then; or says with ls_sink_fill what went wrong.
typedef struct {
  int (*forward)(void* context, at::Tensor* input, at::Tensor** out, void* problem);
  void (*release)(void* context);
} LsBlockTable;

// Takes `context` over, also when it fails: `release` is called on it in the end. The caller owns the new tensor.
int ls_recompute(const LsBlockTable* table, void* context, at::Tensor* input, at::Tensor** out) noexcept;

// batch_norm.cpp: a batch normalisation by the samples of all ranks.

// Each channel's mean and biased variance, and how many numbers a channel has: [2 channels + 1] of f32. The caller owns the new
// tensor.
int ls_batch_norm_stats(at::Tensor* input, at::Tensor** out) noexcept;

// Replaces numbers by their sum over the ranks. Returns 0, or says with ls_sink_fill what went wrong: LS_TORCH where the call was
// refused, and another code where the ranks are lost.
typedef struct {
  int (*sum)(void* context, at::Tensor* numbers, void* problem);
  void (*release)(void* context);
} LsPeersTable;

// `of_ranks` is [ranks, 2 channels + 1]: what ls_batch_norm_stats made on each. Writes the mean and the unbiased variance of all.
// Takes `context` over, also when it fails: `release` is called on it in the end. Backward calls `sum`, once, on whichever thread
// that runs. The caller owns the new tensor.
int ls_batch_norm(const LsPeersTable* table, void* context, at::Tensor* input, at::Tensor* weight, at::Tensor* bias,
                  at::Tensor* of_ranks, at::Tensor* mean, at::Tensor* variance, double eps, at::Tensor** out) noexcept;

// reads.cpp: from now on counts, on this thread, how often a number is read back from a tensor's device. The caller ends
// that with the counter's free.
typedef struct LsReads LsReads;
int ls_reads_new(LsReads** out) noexcept;
int ls_reads_count(const LsReads* reads, uint64_t* count) noexcept;
void ls_reads_free(LsReads* reads) noexcept;

// transfer.cpp: doesn't wait for the device. The caller owns the new tensor.
int ls_to_gpu(at::Tensor* tensor, int device_index, at::Tensor** out) noexcept;

// random.cpp: the default CPU generator. The caller owns the new tensor.
int ls_rng_seed(uint64_t seed) noexcept;
int ls_rng_state(at::Tensor** out) noexcept;
int ls_rng_set_state(at::Tensor* state) noexcept;
// Of a generator that has just been seeded; the default one is not touched. The caller owns the new tensor.
int ls_rng_state_of(uint64_t seed, at::Tensor** out) noexcept;

}  // extern "C"
