// What a benchmark asks of the machine besides its speed: threads and memory.
#pragma once

#include <fstream>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <limits>
#include <moe/core/executor.hpp>
#include <string>
#include <string_view>

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

/// A number of kilobytes that a file of the system has after a word; without limit where it does not say.
inline double system_gbytes(const char* path, std::string_view name) {
  std::ifstream file = example::plain(std::ifstream(path));
  std::string word;
  double kilobytes = 0;
  while (file >> word)
    if (word == name && file >> kilobytes) return kilobytes * 1024e-9;
  return std::numeric_limits<double>::infinity();
}

/// That a program may still take.
inline double memory_gbytes() { return system_gbytes("/proc/meminfo", "MemAvailable:"); }

/// The most memory that this program has had since the watch began, beyond what it had then.
class PeakMemory {
 public:
  PeakMemory() {
#ifdef __GLIBC__
    malloc_trim(0);  // what was freed and kept would be had again without being seen
#endif
    gbytes_before_ = system_gbytes("/proc/self/status", "VmRSS:");
    restart();
  }

  /// The peak, not what was there before.
  void restart() { std::ofstream("/proc/self/clear_refs") << 5; }

  double gbytes() const { return system_gbytes("/proc/self/status", "VmHWM:") - gbytes_before_; }

 private:
  double gbytes_before_;
};

}  // namespace bench
