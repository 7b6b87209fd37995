// What a benchmark asks of the machine besides its speed: threads and memory.
#pragma once

#include <fstream>
#include <limits>
#include <moe/core/executor.hpp>
#include <string>

#include "../../examples/support/plain.hpp"

namespace bench {

/// Of the default executor.
inline moe::Index default_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// For the default executor, and all that runs on OpenMP's threads.
inline void set_threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

/// OpenMP's own threads, where there are any.
inline auto executor_of([[maybe_unused]] moe::Index threads) {
#ifdef _OPENMP
  return moe::OpenMp{static_cast<int>(threads)};
#else
  return moe::Serial{};
#endif
}

/// Programs that ran or wanted to, on average of the last minute; negative where the system does not say.
inline double load_average() {
  std::ifstream file = example::plain(std::ifstream("/proc/loadavg"));
  double load = -1;
  file >> load;
  return load;
}

/// That a program may still take; without limit where the system does not say.
inline double memory_gbytes() {
  std::ifstream file = example::plain(std::ifstream("/proc/meminfo"));
  std::string line_name;
  for (double kilobytes = 0; file >> line_name >> kilobytes; file.ignore(64, '\n'))
    if (line_name == "MemAvailable:") return kilobytes * 1024e-9;
  return std::numeric_limits<double>::infinity();
}

}  // namespace bench
