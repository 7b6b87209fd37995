// A thread's own memory for what its kernels pack and decode.
#pragma once

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Of fixed size, so that a thread allocates it once in its life and no task ever again.
template <class S>
struct Scratch {
  static constexpr Index packed_size = Index{1} << 17, second_size = Index{1} << 17;

  Vector<S> packed, second;

  Scratch() : packed(packed_size), second(second_size) {}

  /// The calling thread's.
  static Scratch& mine() {
    thread_local Scratch scratch;
    return scratch;
  }
};

}  // namespace detail

MOE_NAMESPACE_END
