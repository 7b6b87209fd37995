// For tests of thousands of tiny passes, where a team of threads would only cost time: OpenMP's default is one thread.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

namespace support {

inline const bool one_thread_is_set = [] {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
  return true;
}();

}  // namespace support
