// Memory that is about to be filled, in pages as large as the system has: making small ones takes longer than decoding
// what goes into them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "moe/core/core.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

MOE_NAMESPACE_BEGIN

namespace detail {

/// Asks the system for large pages (2 MiB) in the part of `bytes` bytes at `begin` that whole ones cover. A hint:
/// values stay, and where the system has no such pages or does not want to, nothing happens.
inline void prefer_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t skipped = (page - address % page) % page;
  if (bytes < skipped + page) return;
  ::madvise(static_cast<std::byte*>(begin) + skipped, (bytes - skipped) / page * page, MADV_HUGEPAGE);
#endif
}

}  // namespace detail

MOE_NAMESPACE_END
