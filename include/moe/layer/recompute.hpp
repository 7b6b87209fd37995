// Activations that are not kept: the backward pass computes them again, in tapes that all layers of a model share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/expert/properties.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// How many stages a forward pass has.
template <class X>
constexpr int stages_of() {
  if constexpr (requires { X::stages; })
    return X::stages;
  else
    return 1;
}

/// How many of them compute all that the backward pass reads.
template <class X>
constexpr int saving_stages_of() {
  if constexpr (requires { X::saving_stages; })
    return X::saving_stages;
  else
    return stages_of<X>();
}

/// Where the tape says that activations are recomputed: prepares the shared tapes, with this pass's seeds.
template <class X, class Tape>
void begin_recompute(const std::vector<X>& experts, Tape& tape) {
  if (tape.recompute_in == nullptr) return;
  require(!HasAuxiliaryLoss<X>, "Layer: experts with losses of their own, such as layers, cannot be recomputed");
  tape.recompute_in->resize((std::max)(tape.recompute_in->size(), experts.size()));
  if constexpr (requires(typename X::Tape expert_tape) { expert_tape.random = expert_tape.random; })
    for (std::size_t e = 0; e < experts.size(); ++e) (*tape.recompute_in)[e].random = tape.experts[e].random;
}

}  // namespace detail

MOE_NAMESPACE_END
