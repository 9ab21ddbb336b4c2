#include "handles.h"

#include <torch/csrc/distributed/c10d/exception.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using Bytes = std::vector<uint8_t>;
using std::chrono::milliseconds;

LsKey borrow(const std::string& key) { return {key.data(), key.size()}; }
LsBytes borrow(const Bytes& bytes) { return {bytes.data(), bytes.size()}; }

// A store that lives elsewhere. Which failure it was stays with the table's owner, who reads it back after the call:
// here it only has to travel through libtorch as an exception.
class TableStore : public c10d::Store {
 public:
  TableStore(const LsStoreTable& table, void* context) : table_(table), context_(context) {}
  ~TableStore() override { table_.release(context_); }
  TableStore(const TableStore&) = delete;
  TableStore& operator=(const TableStore&) = delete;

  c10::intrusive_ptr<c10d::Store> clone() override {
    return c10::intrusive_ptr<c10d::Store>::unsafe_reclaim_from_nonowning(this);
  }

  void set(const std::string& key, const Bytes& value) override {
    require(table_.set(context_, borrow(key), borrow(value)), "set", key);
  }

  Bytes get(const std::string& key) override {
    Bytes value;
    require(table_.get(context_, borrow(key), timeout_.count(), &value), "get", key);
    return value;
  }

  int64_t add(const std::string& key, int64_t amount) override {
    int64_t sum = 0;
    require(table_.add(context_, borrow(key), amount, &sum), "add", key);
    return sum;
  }

  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override {
    Bytes value;
    require(table_.compare_set(context_, borrow(key), borrow(expected), borrow(desired), &value), "compare_set", key);
    return value;
  }

  bool deleteKey(const std::string& key) override {
    int removed = 0;
    require(table_.remove(context_, borrow(key), &removed), "delete", key);
    return removed != 0;
  }

  bool check(const std::vector<std::string>& keys) override {
    for (const auto& key : keys) {
      int present = 0;
      require(table_.check(context_, borrow(key), &present), "check", key);
      if (present == 0) {
        return false;
      }
    }
    return true;
  }

  int64_t getNumKeys() override { C10_THROW_ERROR(NotImplementedError, "this store does not count its keys"); }

  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }

  void wait(const std::vector<std::string>& keys, const milliseconds& timeout) override {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (const auto& key : keys) {
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
      require(table_.wait(context_, borrow(key), std::max<int64_t>(left.count(), 0)), "wait", key);
    }
  }

 private:
  static void require(int code, const char* operation, const std::string& key) {
    if (code != 0) {
      C10_THROW_ERROR(DistStoreError, c10::str("store: ", operation, " ", key, " failed"));
    }
  }

  LsStoreTable table_;
  void* context_;
};

}  // namespace

int ls_sink_fill(void* sink, LsBytes value) noexcept {
  return lockstep::guard([&] { static_cast<Bytes*>(sink)->assign(value.data, value.data + value.size); });
}

int ls_store_new(const LsStoreTable* table, void* context, LsStore** out) noexcept {
  return lockstep::guard([&] {
    std::unique_ptr<void, void (*)(void*)> owned(context, table->release);
    auto store = c10::make_intrusive<TableStore>(*table, context);
    owned.release();  // from here on the store releases it
    *out = new LsStore{std::move(store)};
  });
}

void ls_store_free(LsStore* store) noexcept { delete store; }
