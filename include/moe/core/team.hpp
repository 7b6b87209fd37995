// The caller and threads of the library's own.
#pragma once

#include <algorithm>
#include <thread>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/helpers.hpp"

MOE_NAMESPACE_BEGIN

/// The caller and helpers. All teams of a program share these, whatever their sizes, and several callers at a time; who
/// finds none free, such as a layer inside a layer, works alone. Without OpenMP a program that uses this may have to be
/// linked with the system's threads (-pthread, or CMake's Threads::Threads).
struct Team {
  int threads = 0;  ///< At most, the caller with them. 0: as many as the machine runs at a time.

  Index threads_at_work() const {
    static const auto machine_threads = static_cast<Index>((std::max)(1U, std::thread::hardware_concurrency()));
    return threads > 0 ? static_cast<Index>(threads) : machine_threads;
  }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    run(count, f);
  }

 private:
  void run(Index count, detail::TaskRef f) const {
    require(threads >= 0, "Team: threads is ", threads, ", it must be 0 (the default) or more");
    const Index team = (std::min)(threads_at_work(), count);
    detail::Helpers* helpers = team > 1 ? detail::Helpers::of_program() : nullptr;
    if (helpers == nullptr) return Serial{}.parallel_for(count, f);
    detail::SharedTasks tasks{f, count, team - 1};
    helpers->help_with(tasks);
    tasks.exception.rethrow();
  }
};

MOE_NAMESPACE_END
