// Sees every allocation of the library, and can make one fail. To be included before anything that includes Eigen.
//
// Containers allocate by operator new, which allocations.cpp replaces. Eigen allocates by malloc, after it has asserted
// that this is allowed: our eigen_assert hears of it.
#pragma once

#include <string_view>

#ifdef EIGEN_WORLD_VERSION
#error "include allocation/allocations.hpp before Eigen"
#endif

namespace allocation {

/// Counts one allocation. Throws std::bad_alloc if it is the one that is to fail.
void count();

/// Allocations since the last reset, of all threads.
long counted();

/// Counting starts anew. The allocation after `successes` more fails, once; if negative, none does.
void reset(long successes = -1);

/// Prints the failed assertion and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

constexpr bool is_about_malloc(std::string_view expression) {
  return expression.find("heap allocation is forbidden") != std::string_view::npos;
}

}  // namespace allocation

#define EIGEN_RUNTIME_NO_MALLOC
#define eigen_assert(expression)                                       \
  do {                                                                 \
    if constexpr (::allocation::is_about_malloc(#expression))          \
      ::allocation::count();                                           \
    else if (!(expression))                                            \
      ::allocation::assertion_failed(#expression, __FILE__, __LINE__); \
  } while (false)
