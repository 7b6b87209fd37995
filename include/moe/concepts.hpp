// What you may plug into a layer, and every member that the library looks for in it: the one page for whoever writes a
// part. Parts are plain values without a base class. What stands under "Optional" may be left out.
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

// Every part: router, gate, expert, mix (moe/expert/mix.hpp). All of this is optional, except that a part which keeps
// matrices has `visit_parameters`.
// - `visit_parameters(f, self...)`, static: names what is learned (moe/core/parameters.hpp). A part that keeps matrices
//   and learns nothing has an empty one.
// - `visit_buffers(f, self...)`, static, of the same form: names state that is saved and not learned.
// - `check_gradient(gradient) const`: throws std::invalid_argument unless `gradient` has the shapes of the part;
//   without it the shapes of the named parameters are compared.
// - `multiply_adds() const`: what one row costs (moe/report/cost.hpp); without it one for each entry of a matrix.

/// Scores every token for every expert: fills `routing.logits_TE`. `moe::Router` is the usual one. Required:
/// - `Scalar`: float or double.
/// - `Tape`: what its backward pass needs; default-constructible.
/// - `experts() const`: how many experts it scores.
/// - `width() const`: D of the tokens; 0 if any will do.
/// - `forward(batch, routing, tape, random) const`: `random` is null outside training.
///
/// To be trained:
/// - `backward(batch, routing, drouting, tape, dx_TD, gradient) const`: given `drouting.logits_TE`, adds to dx and to
///   the gradient.
/// - `visit_parameters`.
///
/// Optional:
/// - an executor as last argument of both passes (moe/core/executor.hpp).
/// - `check() const`: throws std::invalid_argument if the router does not fit itself.
/// - `bias_E`: a vector, one entry an expert, that is added to the logits: merged and split experts correct it.
/// - `rearrange_experts(sources)`: what it keeps for each expert follows when experts are added, removed, merged or
///   split (moe/surgery/expert_rows.hpp); a router with parameters cannot be rearranged without it.
/// - `set_last_experts(router)`: takes over the rows of new experts from a router for these alone (add_experts).
template <class R>
concept ScoringRouter = requires(const R router, const Batch<typename R::Scalar>& batch, typename R::Tape& tape,
                                 Routing<typename R::Scalar>& routing, Random* random) {
  { router.experts() } -> std::convertible_to<Index>;
  { router.width() } -> std::convertible_to<Index>;
  router.forward(batch, routing, tape, random);
};

/// Turns logits into probabilities and choices. Required:
/// - `route(batch, routing, random) const`: writes `routing.probabilities_TE` (T, E) of all tokens, not of padding, as
///   `routing.set_probabilities()` does (softmax of the logits that weigh), and appends to `routing.choices`, in
///   order of priority, none for padding. `random` is null outside training: then nothing may be drawn.
///
/// Before the call `routing.probabilities_TE` has its size (T, E) and contents without a meaning, and `routing.choices`
/// is empty. A choice is {token, expert, weight, rank, fate} (moe/routing/routing.hpp):
/// - `rank`: 0 for the token's first choice, 1 for its second, and so on; 0 if it is left out. The losses that tell
///   first choices from later ones (LoadBalanceLoss, SecondChoiceLoss) read it, and so does Prioritized.
/// - `fate`: Fate::unsent for an expert that was chosen and to which the token is not sent; Fate::sent if it is left
///   out.
///
/// It chooses by `routing.selection_logits_TE()` and weighs by `routing.weighing_logits_TE()`. Both are the logits,
/// except where a gate around this one drew noise. What it tells of its choices in the routing:
/// - `choices_per_token`: their number, if it is the same for all tokens.
/// - `selects_largest_logits`: made false if they are not the k largest of the selection logits.
///
/// To be trained, see ParameterFreeGate and TrainableGate. Optional:
/// - `check(experts) const`: throws std::invalid_argument if the settings do not suit that many experts.
/// - `most_choices(experts) const`: how many experts a token is sent to at most; without it, all.
/// - `choices_differ() const`: whether their number differs from token to token; without it, it does not.
/// - `accepts_noise(weighs) const`: false if noise on the logits changes nothing: noise that enters the weights too, or
///   (`weighs` false) noise that only decides who is chosen. Without it, true.
/// - `gate`: another gate that this one is around; what this one does not say of the above, that one says.
/// - `k`, or a `top_k` that has it: shown by a summary (moe/report/summary.hpp).
/// - `rearrange_experts(sources)`: as of a router.
template <class G, class S>
concept Gate = requires(const G gate, const Batch<S>& batch, Routing<S>& routing, Random* random) {
  gate.route(batch, routing, random);
};

/// A gate without parameters of its own. `backward(routing, drouting) const` turns the gradients of weights and
/// probabilities in `drouting` into gradients of `drouting.weighing_logits_TE()`, and adds them there (`+=`).
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

/// Maps rows (n, D) to rows (n, O), each row by itself. Required:
/// - `Tape`: what its backward pass needs; default-constructible.
/// - `forward(x, y, tape) const`: writes y.
///
/// Optional:
/// - `output_width() const` or `output_width(D) const`: O. Without it O is D: `y` has D columns.
/// - `check(D) const`: throws std::invalid_argument if rows of width D do not fit. Without it a wrong width is found by
///   Eigen's assertions alone, which NDEBUG switches off.
/// - `auxiliary_loss(tape) const`: losses of its own, as a layer has them.
/// - `stored_as<W>() const`: the same expert with its weights in storage W (moe/surgery/quantized.hpp).
/// - `visit_weights(f, self...)`, static: names these weights, for reports.
///
/// Optional members of the Tape, which a layer sets before a pass:
/// - `random`: a std::optional of Random or of a 64-bit seed (moe/expert/dropout.hpp); empty outside training.
/// - `keep_activations`: a bool; false where no backward pass reads what this pass would keep.
/// - `loss_scale`: the factor of the gradient of its own losses.
/// - `outer`: of a layer inside a layer, which tokens its rows are. LayerTape has it, and `inner_batch`, which
///   reads it.
template <class X, class S>
concept Expert = requires(const X expert, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape) {
  expert.forward(x, y, tape);
};

/// `backward(x, dy, tape, dx, gradient) const` writes dx (`=`) and adds to the gradient (`+=`), given the tape of the
/// forward pass of x; `visit_parameters` names what is learned, and is empty if nothing is.
template <class X, class S>
concept TrainableExpert = Expert<X, S> && detail::NamesParameters<X> &&
    requires(const X expert, X& gradient, ConstMatrixRef<S> x, ConstMatrixRef<S> dy, typename X::Tape& tape,
             MatrixRef<S> dx) {
  expert.backward(x, dy, tape, dx, gradient);
};

/// An expert whose passes can be cut into columns, as those of Mlp and Glu, so that several threads work on one expert.
/// A pass has `stages` stages, one after the other. Columns of one stage may be worked on at the same time; they are
/// cut at multiples of 16, and no bit of a result may depend on where. Required, beside what an expert needs:
/// - `StagesOf`: the type itself. A type that derives from it has a `forward` or `backward` of its own to be called.
/// - `stages`, static: how many stages a pass has.
/// - `forward_columns(stage) const`, `backward_columns(stage) const`: how many columns a stage has.
/// - `begin_forward(rows, tape) const`: gives the tape memory for that many rows.
/// - `begin_backward(rows, tape) const`: the same; throws std::invalid_argument if the tape is of other sizes.
/// - `forward_stage(stage, x, y, tape, row, first, count) const`: computes columns `first` ... `first + count - 1` of
///   the stage. x and y are all rows of the expert, and `row` is 0. Only if the expert has `rows_of_block` may they be
///   some of its rows, the first of which is its row number `row`.
/// - `backward_stage(stage, x, dy, tape, dx, gradient, first, count) const`: always all rows.
///
/// Optional:
/// - `rows_of_block() const`: up to how many rows one task may take through all stages, while other rows are at other
///   stages; 0, or without it: never. In inference `row` is 0 then, and the tape is the thread's own: it is begun for
///   the most rows of a block, and then for the rows of this one.
/// - `saving_stages`, static: after how many stages of the forward pass all that the backward pass reads has been kept;
///   without it, after all.
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

/// A loss on the routing, held by Losses. Required:
/// - `coefficient`: what value and gradient are multiplied by; the loss itself does not do it.
/// - `name() const`: a std::string_view, for reports.
/// - `value(routing) const`: without the coefficient.
/// - `backward(routing, scale, drouting) const`: adds (`+=`) scale * d(value) to `drouting`: to the gradients of
///   logits, probabilities, weights or noise. The weight of `drouting.choices[i]` is the gradient of the weight of
///   `routing.choices[i]`.
///
/// Optional:
/// - `check(experts) const` or `check(experts, gate) const`: throws std::invalid_argument if the loss does not suit a
///   layer of so many experts, or its gate.
/// - `epsilon`: a number, refused by Losses unless it is finite and 0 or more.
template <class L, class S>
concept AuxiliaryLoss = requires(const L loss, const Routing<S>& routing, Routing<S>& drouting) {
  { loss.coefficient } -> std::convertible_to<double>;
  { loss.name() } -> std::same_as<std::string_view>;
  { loss.value(routing) } -> std::convertible_to<S>;
  loss.backward(routing, S(1), drouting);
};

/// A whole layer: Layer, SoftLayer, Shared, and what a user puts around one. T tokens of width D; O is its output
/// width. Deriving from LayerPasses (moe/layer/passes.hpp) gives all forms of the passes, from the two `_into`.
/// Required:
/// - `Scalar`: float or double.
/// - `Tape`: constructible from nothing (evaluation) and from a 64-bit seed (training); deriving from PassTape
///   (moe/layer/tape.hpp) gives these members, which the caller may set: `random`, a std::optional of Random;
///   `loss_scale`; `keep_activations`; and `inner_batch`. Its `is_valid(token) const`: whether the pass took a row for
///   a token; `valid_T() const`, `valid_tokens() const`: the same of all rows, and how many they are.
/// - `forward(batch)`, `forward(batch, executor)`, `forward(batch, tape)`, `forward(batch, tape, executor)`, all const:
///   y_TO.
/// - `forward_into(batch, y_TO, tape, executor) const`: the same into the caller's memory.
/// - `backward(batch, dy_TO, tape, gradient, executor) const`: dx_TD; adds to the gradient.
/// - `backward_into(batch, dy_TO, tape, dx_TD, gradient, executor) const`: the same into the caller's memory.
/// - `forward(x, y, tape) const`, `backward(x, dy, tape, dx, gradient) const`: as an expert of another layer.
/// - `auxiliary_loss(tape) const`: the losses of the recorded pass, times their coefficients.
/// - `width() const`: D; 0 if any will do. `output_width(D) const`: O.
/// - `check() const`, called at construction, and `check(D) const`: throw std::invalid_argument if the parts do not
///   fit.
/// - `check_tape(tape) const`: throws it if the recorded pass was another layer's. `check_gradient(gradient) const`.
/// - `visit_parameters`, `visit_buffers`.
template <class L>
concept MixtureLayer = TrainableExpert<L, typename L::Scalar> &&
    std::constructible_from<typename L::Tape, std::uint64_t> &&
    requires(const L layer, L& gradient, typename L::Tape& tape, const Batch<typename L::Scalar>& batch,
             RowsRef<typename L::Scalar> dy_TO, MatrixRef<typename L::Scalar> y_TO, MatrixRef<typename L::Scalar> dx_TD,
             const Serial& executor) {
  tape.random = Random(0);
  tape.loss_scale = typename L::Scalar(1);
  tape.keep_activations = false;
  { tape.is_valid(Index{}) } -> std::convertible_to<bool>;
  { tape.valid_T() } -> std::convertible_to<const std::vector<std::uint8_t>&>;
  { tape.valid_tokens() } -> std::convertible_to<Index>;
  { layer.forward(batch) } -> std::same_as<Matrix<typename L::Scalar>>;
  { layer.forward(batch, executor) } -> std::same_as<Matrix<typename L::Scalar>>;
  { layer.forward(batch, tape) } -> std::same_as<Matrix<typename L::Scalar>>;
  { layer.forward(batch, tape, executor) } -> std::same_as<Matrix<typename L::Scalar>>;
  layer.forward_into(batch, y_TO, tape, executor);
  { layer.backward(batch, dy_TO, tape, gradient, executor) } -> std::same_as<Matrix<typename L::Scalar>>;
  layer.backward_into(batch, dy_TO, tape, dx_TD, gradient, executor);
  { layer.auxiliary_loss(tape) } -> std::same_as<typename L::Scalar>;
  { layer.width() } -> std::convertible_to<Index>;
  { layer.output_width(Index{}) } -> std::convertible_to<Index>;
  layer.check();
  layer.check(Index{});
  layer.check_tape(tape);
  layer.check_gradient(gradient);
  L::visit_buffers(detail::AnyVisitor{}, gradient);
};

// An activation of Mlp or Glu: a struct with these static members, on chunks of numbers (moe/expert/activations.hpp).
// - `value<S>(x)`: the function.
// - `derivative<S>(x)`: its derivative.
// - `slope_of_value`, a bool, optional: the derivative at value(x) is the one at x, so that experts keep the value
//   alone.
//
// A gate form of Glu: what is made of the gate and up projections, where that is not activation(gate) * up; a value
// that may have settings (moe/expert/clamped_swiglu.hpp).
// - `value<S>(gate, up) const`: the hidden units.
// - `gate_derivative<S>(gate, up) const`, `up_derivative<S>(gate, up) const`: its derivatives.
// - `check() const`, optional: throws std::invalid_argument if the settings are wrong.

// A storage of a weight matrix whose numbers lie in memory as the kernels read them, as Weights (moe/core/weights.hpp).
// - `Scalar`, `rows() const`, `cols() const`: its numbers and its shape, (outputs, inputs).
// - `panel(p) const`: a pointer to the weights of `panel_width` outputs, for each input one after the other.
// - `width_of_panel(p) const`: how many outputs the panel has; the last one may have fewer.

// An executor, which runs tasks (moe/core/executor.hpp).
// - `parallel_for(count, f) const`: calls f(0) ... f(count - 1), and returns when all are done.
// - `threads_at_work() const`, optional: how many tasks it runs at a time.
//
// A thread pool for PoolExecutor, as Eigen::ThreadPool.
// - `NumThreads()`: how many threads it has.
// - `Schedule(task)`: runs a std::function<void()> in one of them, some time.

// An optimiser that follows experts which are added, removed, merged or split (moe/surgery/rearrange_experts.hpp).
// - `moments()`: a tuple of references to its values of the layer's type.

MOE_NAMESPACE_END
