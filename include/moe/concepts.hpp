// What a part must offer to be used in a layer: the one page for whoever writes a gate, an expert or a loss.
// Everything is a plain value; there is no base class.
#pragma once

#include <concepts>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

struct AnyVisitor {
  template <class... Parameters>
  void operator()(std::string_view, Parameters&...) const {}
};

/// An expert with losses of its own, such as a layer.
template <class X>
concept HasAuxiliaryLoss = requires(const X expert, const typename X::Tape tape) {
  expert.auxiliary_loss(tape);
};

}  // namespace detail

/// Scores every token against every expert: fills `routing.logits_TE`. `moe::Router` is the usual one. To be trained,
/// `backward(batch, routing, drouting, tape, dx_TD, gradient) const` adds to dx and to the gradient, given
/// `drouting.logits_TE`, and visit_parameters names what is learned. Optional: an executor as last argument of
/// both passes.
template <class R>
concept ScoringRouter = requires(const R router, const Batch<typename R::Scalar>& batch, typename R::Tape& tape,
                                 Routing<typename R::Scalar>& routing, Random* random) {
  { router.experts() } -> std::convertible_to<Index>;
  { router.width() } -> std::convertible_to<Index>;  // of the tokens; 0 if any will do
  router.forward(batch, routing, tape, random);
};

/// Turns `routing.selection_logits_TE()` (the logits, or the noisy ones where a gate around this one drew noise) into
/// `routing.probabilities_TE` (T, E) and `routing.choices`, in order of priority, none for padding; sets
/// `routing.choices_per_token` if it is the same for all. `random` is null outside training: then nothing may be drawn.
/// A gate whose choices are not the k largest of these logits makes `routing.selects_largest_logits` false. Optional:
/// `check(experts) const` throws std::invalid_argument if the settings do not suit that many experts;
/// `most_choices(experts) const` is how many experts a token is sent to at most (without it, all); `choices_differ()
/// const` is true if their number differs from token to token; `accepts_noise(weighs) const` is false if noise on the
/// logits changes nothing: noise that enters the weights too, or (`weighs` false) only says who is chosen. A gate that
/// holds another as its member `gate` need not repeat what that one says.
template <class G, class S>
concept Gate = requires(const G gate, const Batch<S>& batch, Routing<S>& routing, Random* random) {
  gate.route(batch, routing, random);
};

/// A gate without parameters of its own turns the gradients of weights and probabilities in `drouting` into gradients
/// of the logits, by `+=`.
template <class G, class S>
concept ParameterFreeGate = Gate<G, S> && requires(const G gate, const Routing<S>& routing, Routing<S>& drouting) {
  gate.backward(routing, drouting);
};

/// A gate with parameters also gets the batch, adds to the input's gradient and to its own:
/// `backward(batch, routing, drouting, dx_TD, gradient) const`, and has visit_parameters.
template <class G, class S>
concept TrainableGate = ParameterFreeGate<G, S> ||
    (Gate<G, S>&& requires(const G gate, const Batch<S>& batch, const Routing<S>& routing, Routing<S>& drouting,
                           MatrixRef<S> dx_TD,
                           G& gradient) { gate.backward(batch, routing, drouting, dx_TD, gradient); });

/// Maps rows (n, D) to rows (n, O), each row by itself; keeps in its Tape what its backward pass needs.
/// Optional: `output_width() const` where O is not D; `check(D) const` throws if rows of that width do not fit (without
/// it, a wrong width is for Eigen's assertions to find, which NDEBUG switches off); a
/// member `random` of the Tape, a std::optional of Random or of a 64-bit seed (moe/expert/dropout.hpp), which the layer
/// sets for training passes and empties for the others; a bool `keep_activations` of the Tape, which the layer makes
/// false where no backward pass reads what this pass would keep.
template <class X, class S>
concept Expert = requires(const X expert, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape) {
  expert.forward(x, y, tape);
};

/// Adds to the gradient's parameters and writes (not adds) dx, given dy and the tape of the forward pass.
template <class X, class S>
concept TrainableExpert = Expert<X, S> && requires(const X expert, X& gradient, ConstMatrixRef<S> x,
                                                   ConstMatrixRef<S> dy, typename X::Tape& tape, MatrixRef<S> dx) {
  expert.backward(x, dy, tape, dx, gradient);
  X::visit_parameters(detail::AnyVisitor{}, gradient);
};

/// Optional, for an expert whose passes can be cut into columns (Mlp and Glu can): a pass is `stages` steps, one after
/// the other, each of so many columns, and columns of one step may be worked on at the same time, `first` a multiple of
/// 16: no bit may depend on where they are cut. `begin_forward` and `begin_backward` make room in the tape, for all
/// rows; the latter refuses a tape of other sizes. The layer then shares all experts' columns out. `forward_stage` gets
/// rows of x and y that are the expert's from `row` on: all of them, `row` 0, but for an expert that has
/// `rows_of_block() const` (optional; 0: never). If it says n, tasks may take up to n rows through all stages, so that
/// other rows are at other stages at the same time; in inference, with `row` 0 in a tape of the thread's own, begun for
/// the most rows of a block and then for those at hand. `saving_stages`, if it is there: the stages of the forward pass
/// that leave all that the backward pass reads. `StagesOf` is the type itself: one that derives from it has a `forward`
/// or `backward` of its own to be called.
template <class X, class S>
concept StagedExpert = Expert<X, S> &&
    requires(const X expert, X& gradient, ConstMatrixRef<S> x, ConstMatrixRef<S> dy, MatrixRef<S> y, MatrixRef<S> dx,
             typename X::Tape& tape, Index rows, Index row, Index first, Index count) {
  requires std::same_as<typename X::StagesOf, X>;
  { X::stages } -> std::convertible_to<int>;
  { expert.forward_columns(0) } -> std::convertible_to<Index>;
  { expert.backward_columns(0) } -> std::convertible_to<Index>;
  expert.begin_forward(rows, tape);
  expert.begin_backward(rows, tape);
  expert.forward_stage(0, x, y, tape, row, first, count);
  expert.backward_stage(0, x, dy, tape, dx, gradient, first, count);
};

/// A loss on the routing, without its coefficient: `backward` adds scale * d(value) to `drouting`, to the logits,
/// probabilities or weights. Optional: `check(experts) const` or `check(experts, gate) const` throws
/// std::invalid_argument if the loss does not suit a layer of so many experts, or its gate.
template <class L, class S>
concept AuxiliaryLoss = requires(const L loss, const Routing<S>& routing, Routing<S>& drouting) {
  { loss.coefficient } -> std::convertible_to<double>;
  { loss.name() } -> std::same_as<std::string_view>;
  { loss.value(routing) } -> std::convertible_to<S>;
  loss.backward(routing, S(1), drouting);
};

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

/// Whether the expert is one for numbers of type `Own`, used where the others are `Wanted`, that is, S.
template <class X, class Own, class Wanted, class S>
concept computes_in = std::same_as<S, Wanted> && !Expert<X, Wanted> && Expert<X, Own>;

/// What the gate answers; if it does not, what the one answers that it holds as `gate`; else `otherwise`.
template <class G, class Ask, class Answer>
Answer ask_gate(const G& gate, const Ask& ask, Answer otherwise) {
  if constexpr (requires { ask(gate); })
    return ask(gate);
  else if constexpr (requires { gate.gate; })
    return ask_gate(gate.gate, ask, otherwise);
  else
    return otherwise;
}

template <class G>
Index most_choices(const G& gate, Index experts) {
  const auto ask = [=](const auto& one) -> decltype(one.most_choices(experts)) { return one.most_choices(experts); };
  return ask_gate(gate, ask, experts);
}

template <class G>
bool choices_differ(const G& gate) {
  const auto ask = [](const auto& one) -> decltype(one.choices_differ()) { return one.choices_differ(); };
  return ask_gate(gate, ask, false);
}

template <class G>
bool accepts_noise(const G& gate, bool weighs) {
  const auto ask = [=](const auto& one) -> decltype(one.accepts_noise(weighs)) { return one.accepts_noise(weighs); };
  return ask_gate(gate, ask, true);
}

/// Throws std::invalid_argument if noise of `name` in front of the gate would change nothing.
template <class G>
void require_noise_has_an_effect(std::string_view name, const G& gate, bool weighs) {
  require(accepts_noise(gate, weighs), name,
          ": its noise would change nothing, since the gate behind it draws noise of its own or does not look at the "
          "logits");
}

/// The passes of an expert that can be cut into columns, in one piece.
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

/// Throws std::invalid_argument unless `gradient` has the shapes of `part`, and memory of its own.
template <class Part>
void check_gradient(std::string_view what, const Part& part, const Part& gradient) {
  require(&part != &gradient, what, " is the part itself");
  if constexpr (requires { part.check_gradient(gradient); })
    part.check_gradient(gradient);
  else if constexpr (requires { Part::visit_parameters(AnyVisitor{}, gradient); })
    require_same_shapes(what, part, gradient);
}

}  // namespace detail

MOE_NAMESPACE_END
