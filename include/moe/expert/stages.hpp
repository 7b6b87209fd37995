// The passes of an expert that can be cut into columns (StagedExpert in moe/concepts.hpp), in one piece.
#pragma once

#include <concepts>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Whether the expert is run by stages. One that means to be and lacks a member, or misspells it, is refused: it would
/// be run as a plain expert, and nobody would notice.
template <class X, class S>
constexpr bool has_stages() {
  constexpr bool means_to = requires { requires std::same_as<typename X::StagesOf, X>; };
  constexpr bool begins = requires(const X expert, typename X::Tape& tape) { expert.begin_forward(Index{}, tape); };
  constexpr bool says_of_what = requires { typename X::StagesOf; };
  static_assert(StagedExpert<X, S> || !TrainableExpert<X, S> || !(means_to || (begins && !says_of_what)),
                "moe: X has stages, but lacks or misspells one of StagesOf, stages, forward_columns, backward_columns, "
                "begin_forward, begin_backward, forward_stage, backward_stage; see StagedExpert in moe/concepts.hpp");
  return StagedExpert<X, S>;
}

/// Throws std::invalid_argument unless the shapes fit, before anything is written.
template <class X, class S>
void forward_by_stages(const X& expert, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape) {
  expert.check(x.cols());
  require_shape("Expert::forward: y", y, x.rows(), expert.output_width());
  expert.begin_forward(x.rows(), tape);
  for (int stage = 0; stage < X::stages; ++stage)
    expert.forward_stage(stage, x, y, tape, 0, 0, expert.forward_columns(stage));
}
template <class X, class S>
void backward_by_stages(const X& expert, ConstMatrixRef<S> x, ConstMatrixRef<S> dy, typename X::Tape& tape,
                        MatrixRef<S> dx, X& gradient) {
  expert.check(x.cols());
  require_same_shapes("Expert::backward: the gradient", expert, gradient);
  require_shape("Expert::backward: dy", dy, x.rows(), expert.output_width());
  require_shape("Expert::backward: dx", dx, x.rows(), x.cols());
  expert.begin_backward(x.rows(), tape);
  for (int stage = 0; stage < X::stages; ++stage)
    expert.backward_stage(stage, x, dy, tape, dx, gradient, 0, expert.backward_columns(stage));
}

}  // namespace detail

MOE_NAMESPACE_END
