// Room for a kernel's packed operands.
#pragma once

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What one task packs: of fixed sizes, so that a thread allocates its room once in its life and no task ever again.
template <class S>
struct Scratch {
  static constexpr Index packed_size = Index{1} << 17, second_size = Index{1} << 17, widened_size = 2 * 16 * 1536;

  Vector<S> packed, second, widened;

  Scratch() : packed(packed_size), second(second_size), widened(widened_size) {}

  /// The calling thread's.
  static Scratch& mine() {
    thread_local Scratch scratch;
    return scratch;
  }
};

}  // namespace detail

MOE_NAMESPACE_END
