// What an expert says of itself, and what holds if it says nothing.
#pragma once

#include <concepts>
#include <cstdint>

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

/// Refuses optional members under another name, or in another form: they would be passed over without a word.
template <class X>
constexpr void check_expert_members() {
  using Tape = typename X::Tape;
  static_assert(
      !requires { &X::outputs_width; } && !requires { &X::auxiliary_losses; } && !requires { &X::multiply_add; } &&
          !requires { &X::check_gradients; } && !requires { &Tape::keep_activation; } &&
          !requires { &Tape::loss_scales; },
      "moe: an expert misspells one of output_width, auxiliary_loss, multiply_adds, check_gradient, or of its "
      "tape's keep_activations, loss_scale; see Expert in moe/concepts.hpp");
  static_assert(
      !requires { &X::output_width; } || requires(const X x) { x.output_width(); } ||
          requires(const X x) { x.output_width(Index{}); },
      "moe: output_width of an expert must be output_width() const or output_width(width) const");
  static_assert(
      !requires { &X::check; } || requires(const X x) { x.check(Index{}); },
      "moe: check of an expert must be check(width) const; see Expert in moe/concepts.hpp");
  static_assert(
      !requires { &X::auxiliary_loss; } || HasAuxiliaryLoss<X>,
      "moe: auxiliary_loss of an expert must be auxiliary_loss(tape) const; see Expert in moe/concepts.hpp");
  static_assert(
      !requires { &Tape::random; } || requires(Tape tape) { tape.random.emplace(std::uint64_t{}); },
      "moe: random of an expert's tape must be a std::optional of moe::Random or std::uint64_t; see Expert in "
      "moe/concepts.hpp");
}

/// O of an expert that gets tokens of width D.
template <class X>
Index output_width(const X& expert, Index width) {
  check_expert_members<X>();
  if constexpr (requires { expert.output_width(width); })
    return expert.output_width(width);
  else if constexpr (requires { expert.output_width(); })
    return expert.output_width();
  else
    return width;
}

}  // namespace detail

MOE_NAMESPACE_END
