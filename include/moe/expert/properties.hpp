// What an expert says of itself, and what holds if it says nothing.
#pragma once

#include <concepts>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// An expert with losses of its own, such as a layer.
template <class X>
concept HasAuxiliaryLoss = requires(const X expert, const typename X::Tape tape) {
  expert.auxiliary_loss(tape);
};

/// Whether the expert is one for numbers of type `Own`, used where the others are `Wanted`, that is, S.
template <class X, class Own, class Wanted, class S>
concept computes_in = std::same_as<S, Wanted> && !Expert<X, Wanted> && Expert<X, Own>;

/// O of an expert that gets tokens of width D.
template <class X>
Index output_width(const X& expert, Index width) {
  if constexpr (requires { expert.output_width(width); })
    return expert.output_width(width);
  else if constexpr (requires { expert.output_width(); })
    return expert.output_width();
  else
    return width;
}

}  // namespace detail

MOE_NAMESPACE_END
