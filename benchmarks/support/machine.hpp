// What a benchmark asks of the machine besides its speed.
#pragma once

#include <fstream>
#include <limits>
#include <string>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace bench {

/// For the default executor, and all that runs on OpenMP's threads.
inline void set_threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

/// That a program may still take; without limit where the system does not say.
inline double memory_gbytes() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  for (double kilobytes = 0; file >> name >> kilobytes; file.ignore(64, '\n'))
    if (name == "MemAvailable:") return kilobytes * 1024e-9;
  return std::numeric_limits<double>::infinity();
}

}  // namespace bench
