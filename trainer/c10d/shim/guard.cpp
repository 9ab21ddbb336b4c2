#include "guard.h"

#include <c10/util/Exception.h>

#include <exception>
#include <string>

namespace {

// A fixed buffer: recording a failure must not fail itself, not even for want of memory.
constexpr size_t kMessageBytes = 4096;
thread_local char last_error[kMessageBytes] = "";

int record(const char* message, int code) noexcept {
  size_t n = 0;
  while (n + 1 < kMessageBytes && message[n] != '\0') {
    last_error[n] = message[n];
    n++;
  }
  last_error[n] = '\0';
  return code;
}

}  // namespace

namespace lockstep {

int record_exception() noexcept {
  try {
    throw;
  } catch (const c10::DistStoreError& error) {
    return record(error.what_without_backtrace(), LS_STORE);
  } catch (const c10::DistError& error) {
    return record(error.what_without_backtrace(), LS_DISTRIBUTED);
  } catch (const c10::Error& error) {
    return record(error.what_without_backtrace(), LS_TORCH);
  } catch (const std::exception& error) {
    return record(error.what(), LS_FOREIGN);
  } catch (...) {
    return record("an exception that is not a std::exception", LS_FOREIGN);
  }
}

}  // namespace lockstep

const char* ls_last_error() noexcept { return last_error; }
