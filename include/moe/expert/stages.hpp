// The passes of an expert that can be cut into columns (StagedExpert in moe/concepts.hpp), in one piece.
#pragma once

#include <concepts>
#include <type_traits>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class X>
concept NamesStagesOf = requires {
  typename X::StagesOf;
};
template <class X>
concept NamesStages = requires {
  X::stages;
};
template <class X>
concept NamesForwardColumns = requires {
  &X::forward_columns;
};
template <class X>
concept NamesBackwardColumns = requires {
  &X::backward_columns;
};
template <class X>
concept NamesBeginForward = requires {
  &X::begin_forward;
};
template <class X>
concept NamesBeginBackward = requires {
  &X::begin_backward;
};
template <class X>
concept NamesForwardStage = requires {
  &X::forward_stage;
};
template <class X>
concept NamesBackwardStage = requires {
  &X::backward_stage;
};

/// How many of the members of a StagedExpert there are under their names, whatever their form.
template <class X>
inline constexpr int stage_members =
    NamesStagesOf<X> + NamesStages<X> + NamesForwardColumns<X> + NamesBackwardColumns<X> + NamesBeginForward<X> +
    NamesBeginBackward<X> + NamesForwardStage<X> + NamesBackwardStage<X>;

/// Whether the stages are those of a type that X derives from: then X has a forward or backward pass of its own.
template <class X>
concept HasStagesOfABase = !std::same_as<typename X::StagesOf, X> && std::derived_from<X, typename X::StagesOf>;

/// Whether X says that it has no stages, though it has such members.
template <class X>
concept HasStagesOfNone = std::is_void_v<typename X::StagesOf>;

/// Whether a pointer to a member is to one that X itself declares.
template <class X, class Member, class Owner>
constexpr bool is_declared_by(Member Owner::*) {
  return std::same_as<X, Owner>;
}
template <class X>
concept DeclaresStage = requires {
  requires is_declared_by<X>(&X::forward_columns);
}
|| requires { requires is_declared_by<X>(&X::backward_columns); }
|| requires { requires is_declared_by<X>(&X::begin_forward); }
|| requires { requires is_declared_by<X>(&X::begin_backward); }
|| requires { requires is_declared_by<X>(&X::forward_stage); }
|| requires { requires is_declared_by<X>(&X::backward_stage); };

/// Whether the expert is run by stages. One that means to be and lacks a member, or misspells it, is refused: it would
/// be run as a plain expert, and nobody would notice.
template <class X, class S>
constexpr bool has_stages() {
  static_assert(StagedExpert<X, S> || HasStagesOfABase<X> || HasStagesOfNone<X> || stage_members<X> < 2,
                "moe: an expert has stages, but lacks or misspells one of StagesOf, stages, forward_columns, "
                "backward_columns, begin_forward, begin_backward, forward_stage, backward_stage; see StagedExpert in "
                "moe/concepts.hpp");
  static_assert(!HasStagesOfABase<X> || !DeclaresStage<X>,
                "moe: an expert declares stages of its own, but its StagesOf is the type that it derives from; "
                "StagesOf must be the type itself; see StagedExpert in moe/concepts.hpp");
  static_assert(
      !requires { &X::saving_stage; } && !requires { X::saving_stage; } && !requires { &X::row_of_block; } &&
          !requires { &X::rows_of_blocks; },
      "moe: an expert misspells saving_stages or rows_of_block; see StagedExpert in moe/concepts.hpp");
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
