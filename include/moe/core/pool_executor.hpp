// A thread pool of the user's as an executor.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <memory>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/first_exception.hpp"

MOE_NAMESPACE_BEGIN

/// What a PoolExecutor needs of a thread pool, as Eigen::ThreadPool has it: Schedule runs a task later, in any thread.
template <class X>
concept TaskPool = requires(X& pool, void (&task)()) {
  { pool.NumThreads() } -> std::convertible_to<Index>;
  pool.Schedule(task);
};

/// A thread pool of the user's, a TaskPool: anything with Schedule(std::function<void()>) and NumThreads(). The caller
/// works along, so a pool whose threads are all busy (a layer inside a layer) cannot deadlock. The pool must outlive
/// the executor.
template <class ThreadPool>
class PoolExecutor {
  static_assert(TaskPool<ThreadPool>,
                "moe::PoolExecutor: the pool needs NumThreads() and Schedule(task), task a std::function<void()>; see "
                "moe/core/pool_executor.hpp");

 public:
  explicit PoolExecutor(ThreadPool& pool) : pool_(&pool) {}

  Index threads_at_work() const { return static_cast<Index>(pool_->NumThreads()) + 1; }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    run(count, f);
  }

 private:
  struct Work {
    Work(detail::TaskRef f_, Index count_) : f(f_), count(count_) {}

    void take() {
      for (Index i = next++; i < count; i = next++) {
        exception.run(i, f);
        if (++done == count) done.notify_all();
      }
    }

    void wait() const {
      for (Index seen = done; seen < count; seen = done) done.wait(seen);
    }

    const detail::TaskRef f;
    const Index count;
    std::atomic<Index> next{0}, done{0};
    detail::FirstException exception;
  };

  void run(Index count, detail::TaskRef f) const {
    const Index helpers = (std::min)(static_cast<Index>(pool_->NumThreads()), count - 1);
    if (helpers <= 0) return Serial{}.parallel_for(count, f);
    auto work = std::make_shared<Work>(f, count);  // a helper may start after the caller has left: no task is there
    schedule(helpers, work);
    work->take();
    work->wait();
    work->exception.rethrow();
  }

  /// A pool that takes no more work is no error: the caller does what is left.
  void schedule(Index helpers, const std::shared_ptr<Work>& work) const {
#ifdef __cpp_exceptions
    try {
#endif
      for (Index i = 0; i < helpers; ++i) pool_->Schedule([work] { work->take(); });
#ifdef __cpp_exceptions
    } catch (...) {
    }
#endif
  }

  ThreadPool* pool_;
};

MOE_NAMESPACE_END
