// Who runs the tasks of a layer: the calling thread, a team of threads, or a thread pool of the user's. An executor is
// a value with `parallel_for(count, f) const`, which calls f(0) ... f(count - 1), each once, and returns when all are
// done. Tasks never share an output, so every executor gives the same bits. Optional: `threads_at_work() const`, how
// many tasks it runs at a time, says how small work is to be cut.
#pragma once

#include <algorithm>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/function_ref.hpp"

MOE_NAMESPACE_BEGIN

template <class X>
concept Executor = requires(const X& executor, void (&task)(Index)) {
  executor.parallel_for(Index{}, task);
};

/// The calling thread.
struct Serial {
  Index threads_at_work() const { return 1; }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    for (Index i = 0; i < count; ++i) f(i);
  }
};

namespace detail {

/// The body of tasks: f(i) is task i.
using TaskRef = FunctionRef<void(Index)>;

/// One sentence for each type that is no executor, and no error that follows from it.
template <class Exec>
struct CheckedExecutor {
  static_assert(Executor<Exec>,
                "moe: what is passed as executor is none: it needs parallel_for(count, f) const, which calls f(0) ... "
                "f(count - 1); see moe/core/executor_ref.hpp");
  static constexpr bool is_one = Executor<Exec>;
};

/// Any executor, without its type: what works by one is compiled once. The executor must outlive it.
class ExecutorRef {
 public:
  template <class Exec>
  requires(!std::is_same_v<Exec, ExecutorRef>) ExecutorRef(const Exec& executor)  // NOLINT(google-explicit-constructor)
      : executor_(&executor),
        run_([](const void* any, Index count, TaskRef f) {
          if constexpr (CheckedExecutor<Exec>::is_one) static_cast<const Exec*>(any)->parallel_for(count, f);
        }),
        threads_([](const void* any) -> Index {
          if constexpr (requires(const Exec& exec) { exec.threads_at_work(); })
            return (std::max)(static_cast<Index>(static_cast<const Exec*>(any)->threads_at_work()), Index{1});
          else
            return 8;
        }) {}

  void parallel_for(Index count, TaskRef f) const { run_(executor_, count, f); }

  /// 1 or more; 8 of an executor that does not say.
  Index threads_at_work() const { return threads_(executor_); }

 private:
  const void* executor_;
  void (*run_)(const void* executor, Index count, TaskRef f);
  Index (*threads_)(const void* executor);
};

/// Calls f(0) ... f(count - 1) as the executor does.
inline void parallel_for(ExecutorRef executor, Index count, TaskRef f) { executor.parallel_for(count, f); }

/// How many tasks it takes to occupy an executor: work is not cut into more than that needs.
inline Index tasks_to_occupy(ExecutorRef executor) { return executor.threads_at_work(); }

/// Calls f(begin, count) for blocks of at most `size` of 0 .. total - 1, as tasks.
inline void parallel_blocks(ExecutorRef executor, Index total, Index size, FunctionRef<void(Index, Index)> f) {
  executor.parallel_for((total + size - 1) / size, [&](Index block) {
    const Index begin = block * size;
    f(begin, (std::min)(size, total - begin));
  });
}

}  // namespace detail

MOE_NAMESPACE_END
