// How an exception leaves tasks that several threads run.
#pragma once

#include <atomic>
#include <exception>
#include <limits>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Carries an exception out of a parallel region: of all tasks that threw, the one of the lowest index is rethrown, as
/// a serial run would have done.
class FirstException {
 public:
  void run(Index task, TaskRef f) {
#ifdef __cpp_exceptions
    if (task > lowest_.load(std::memory_order_relaxed)) return;  // a serial run would not have come this far
    try {
      f(task);
    } catch (...) {
      while (busy_.test_and_set(std::memory_order_acquire)) {
      }
      if (task < lowest_.load(std::memory_order_relaxed)) {
        lowest_.store(task, std::memory_order_relaxed);
        exception_ = std::current_exception();
      }
      busy_.clear(std::memory_order_release);
    }
#else
    f(task);
#endif
  }

  /// Once, when all tasks are done. Gives the exception away: it dies with the caller, not with the last task.
  void rethrow() {
#ifdef __cpp_exceptions
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
#endif
  }

 private:
  std::atomic<Index> lowest_{(std::numeric_limits<Index>::max)()};
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::exception_ptr exception_;
};

}  // namespace detail

MOE_NAMESPACE_END
