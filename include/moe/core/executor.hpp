// The executors of the library: the calling thread, OpenMP's threads, and what a layer uses when none is given.
#pragma once

#include <algorithm>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/first_exception.hpp"
#include "moe/core/team.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

MOE_NAMESPACE_BEGIN

#ifdef _OPENMP
/// OpenMP's own threads; there only if the program is compiled with OpenMP. Tasks are handed out one by one, in order.
/// These threads wait for milliseconds without sleeping, which is fast where the machine is the program's own and where
/// the program has OpenMP regions besides, and far slower where other programs want the same cores.
struct OpenMp {
  int threads = 0;  ///< 0: as many as OpenMP would use.

  Index threads_at_work() const { return threads > 0 ? threads : omp_get_max_threads(); }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    run(count, f);
  }

 private:
  void run(Index count, detail::TaskRef f) const {
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
    run(count, f);
  }

 private:
  void run(Index count, detail::TaskRef f) const {
    const Index threads = threads_at_work();
    if (threads == 1 || count <= 1) return Serial{}.parallel_for(count, f);
    if (omp_get_proc_bind() != omp_proc_bind_false) return OpenMp{}.parallel_for(count, f);
    Team{static_cast<int>(threads)}.parallel_for(count, [f](Index i) {
      const OneThread here;
      f(i);
    });
  }

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

MOE_NAMESPACE_END
