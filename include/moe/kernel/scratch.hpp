// A thread's own memory for what its kernels pack, decode and add up.
#pragma once

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Entries of each of the three parts of a thread's scratch.
inline constexpr Index scratch_size = Index{1} << 17;

/// Of fixed size, so that a thread allocates it once in its life and no task ever again.
template <class S>
struct Scratch {
  Vector<S> packed, second, sums;

  Scratch() : packed(scratch_size), second(scratch_size), sums(scratch_size) {}

  /// The calling thread's.
  static Scratch& mine() {
    thread_local Scratch scratch;
    return scratch;
  }
};

}  // namespace detail

MOE_NAMESPACE_END
