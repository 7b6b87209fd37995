#include "allocation/allocations.hpp"

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace allocation {
namespace {

std::atomic<long> number{0}, failing{-1};

#ifdef _OPENMP
// The OpenMP runtime, and a tool that it may load, allocate when they are first asked: that is no test's business.
[[maybe_unused]] const int openmp_has_started = omp_in_parallel();
#endif

void* allocate(std::size_t size, std::size_t alignment) {
  count();
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = alignment <= alignof(std::max_align_t) ? std::malloc(size > 0 ? size : 1)
                                                        : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void count() {
  if (number++ == failing) {
    failing = -1;
    throw std::bad_alloc();
  }
}

long counted() { return number; }

void reset(long successes) {
  failing = -1;
  number = 0;
  failing = successes;
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace allocation

void* operator new(std::size_t size) { return allocation::allocate(size, 1); }
void* operator new[](std::size_t size) { return allocation::allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocation::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocation::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
