// Who runs the tasks of a layer: the calling thread, a team of threads, or a thread pool of the user's. An executor is
// a value with `parallel_for(count, f) const`, which calls f(0) ... f(count - 1), each once, and returns when all are
// done. Tasks never share an output, so every executor gives the same bits. Optional: `threads_at_work() const`, how
// many tasks it runs at a time, lets work be cut no smaller than that asks for.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <memory>

#include "moe/core/core.hpp"
#include "moe/core/first_exception.hpp"
#include "moe/core/team.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

MOE_NAMESPACE_BEGIN

template <class X>
concept Executor = requires(const X& executor, void (&task)(Index)) {
  executor.parallel_for(Index{}, task);
};

/// What a PoolExecutor needs of a thread pool, as Eigen::ThreadPool has it: Schedule runs a task later, in any thread.
template <class X>
concept TaskPool = requires(X& pool, void (&task)()) {
  { pool.NumThreads() } -> std::convertible_to<Index>;
  pool.Schedule(task);
};

namespace detail {

/// One sentence for each type that is no executor, and no error that follows from it.
template <class Exec>
struct CheckedExecutor {
  static_assert(Executor<Exec>,
                "moe: what is passed as executor is none: it needs parallel_for(count, f) const, which calls f(0) ... "
                "f(count - 1); see moe/core/executor.hpp");
  static constexpr bool is_one = Executor<Exec>;
};

/// Calls f(0) ... f(count - 1) as the executor does.
template <class Exec, class F>
void parallel_for(const Exec& executor, Index count, F&& f) {
  if constexpr (CheckedExecutor<Exec>::is_one) executor.parallel_for(count, f);
}

}  // namespace detail

/// The calling thread.
struct Serial {
  Index threads_at_work() const { return 1; }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    for (Index i = 0; i < count; ++i) f(i);
  }
};

#ifdef _OPENMP
/// OpenMP's own threads; there only if the program is compiled with OpenMP. Tasks are handed out one by one, in order.
/// These threads wait for milliseconds without sleeping, which is fast where the machine is the program's own and where
/// the program has OpenMP regions besides, and ten times slower where other programs want the same cores.
struct OpenMp {
  int threads = 0;  ///< 0: as many as OpenMP would use.

  Index threads_at_work() const { return threads > 0 ? threads : omp_get_max_threads(); }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    require(threads >= 0, "OpenMp: threads is ", threads, ", it must be 0 (the default) or more");
    const int team = static_cast<int>(threads_at_work());
    if (team == 1 || count <= 1) return Serial{}.parallel_for(count, f);
    detail::FirstException exception;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
    for (Index i = 0; i < count; ++i) exception.run(i, f);
    exception.rethrow();
  }
};

/// What a layer uses when no executor is given: a Team of as many threads as OpenMP would use. Its tasks see one OpenMP
/// thread, so what runs in them has no threads of its own, as in a region of OpenMP's: neither a layer inside a layer
/// nor a product of Eigen's. Inside such a region it is Serial. Where OpenMP was told which cores are its threads'
/// (OMP_PROC_BIND), others would be in their way, and these are used.
struct DefaultExecutor {
  Index threads_at_work() const {
    return omp_in_parallel() ? 1 : (std::min)(omp_get_max_threads(), omp_get_thread_limit());
  }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    const Index threads = threads_at_work();
    if (threads == 1 || count <= 1) return Serial{}.parallel_for(count, f);
    if (omp_get_proc_bind() != omp_proc_bind_false) return OpenMp{}.parallel_for(count, f);
    Team{static_cast<int>(threads)}.parallel_for(count, [&f](Index i) {
      const OneThread here;
      f(i);
    });
  }

 private:
  /// For the calling thread, as long as this lives.
  struct OneThread {
    const int before = omp_get_max_threads();
    OneThread() { omp_set_num_threads(1); }
    ~OneThread() { omp_set_num_threads(before); }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;
  };
};
#else
/// What a layer uses when no executor is given.
using DefaultExecutor = Serial;
#endif

/// A thread pool of the user's, a TaskPool: anything with Schedule(std::function<void()>) and NumThreads(). The caller
/// works along, so a pool whose threads are all busy (a layer inside a layer) cannot deadlock. The pool must outlive
/// the executor.
template <class ThreadPool>
class PoolExecutor {
  static_assert(TaskPool<ThreadPool>,
                "moe::PoolExecutor: the pool needs NumThreads() and Schedule(task), task a std::function<void()>; see "
                "moe/core/executor.hpp");

 public:
  explicit PoolExecutor(ThreadPool& pool) : pool_(&pool) {}

  Index threads_at_work() const { return static_cast<Index>(pool_->NumThreads()) + 1; }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    const Index helpers = (std::min)(static_cast<Index>(pool_->NumThreads()), count - 1);
    if (helpers <= 0) return Serial{}.parallel_for(count, f);
    auto work = std::make_shared<Work>(count);  // a helper may start after the caller has left: it finds nothing to do
    auto* task = std::addressof(f);
    schedule(helpers, work, task);
    work->take(f);
    work->wait();
    work->exception.rethrow();
  }

 private:
  struct Work {
    explicit Work(Index count_) : count(count_) {}

    template <class F>
    void take(F& f) {
      for (Index i = next++; i < count; i = next++) {
        exception.run(i, f);
        if (++done == count) done.notify_all();
      }
    }

    void wait() const {
      for (Index seen = done; seen < count; seen = done) done.wait(seen);
    }

    const Index count;
    std::atomic<Index> next{0}, done{0};
    detail::FirstException exception;
  };

  /// A pool that takes no more work is no error: the caller does what is left.
  template <class WorkPointer, class F>
  void schedule(Index helpers, const WorkPointer& work, F* task) const {
#ifdef __cpp_exceptions
    try {
#endif
      for (Index i = 0; i < helpers; ++i) pool_->Schedule([work, task] { work->take(*task); });
#ifdef __cpp_exceptions
    } catch (...) {
    }
#endif
  }

  ThreadPool* pool_;
};

namespace detail {

/// How many tasks it takes to occupy an executor: work is cut no smaller than that asks for. An executor that does not
/// say gets as many as eight threads would.
template <class Exec>
Index tasks_to_occupy(const Exec& executor) {
  if constexpr (requires { executor.threads_at_work(); })
    return (std::max)(static_cast<Index>(executor.threads_at_work()), Index{1});
  else
    return 8;
}

/// Calls f(begin, count) for blocks of at most `size` of 0 .. total - 1, as tasks.
template <class Exec, class F>
void parallel_blocks(const Exec& executor, Index total, Index size, F&& f) {
  parallel_for(executor, (total + size - 1) / size, [&](Index block) {
    const Index begin = block * size;
    f(begin, (std::min)(size, total - begin));
  });
}

}  // namespace detail

MOE_NAMESPACE_END
