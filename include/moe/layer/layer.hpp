// The Mixture-of-Experts layer: a router, a gate, a list of experts, losses and a way to dispatch, composed by value.
//
//   forward : x_TD -router-> logits_TE -gate-> choices -plan-> slots -dispatch-> x_ND -experts-> y_NO -combine-> y_TO
//   backward: dy_TO -combine'-> dy_NO, dweights -experts'-> dx_ND -losses'-> dprobabilities -gate'-> dlogits_TE
//             -router'-> dx_TD + dispatch'(dx_ND)
#pragma once

#include <algorithm>
#include <concepts>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/layer/checks.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/passes.hpp"
#include "moe/layer/run_experts.hpp"
#include "moe/layer/run_routing.hpp"
#include "moe/layer/tape.hpp"
#include "moe/loss/losses.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/dispatch.hpp"
#include "moe/routing/dispatch_options.hpp"

MOE_NAMESPACE_BEGIN

/// y_t = sum over the experts e chosen for token t of weight * expert_e(x_t). The residual is the caller's: a token
/// that is padding, or that every chosen expert dropped, gets a zero row.
///
/// A value: copy it, assign it, keep a second one as its gradient (`zeros_like`: a copy that still holds the weights is
/// added to all the same, nothing can tell). The passes (moe/layer/passes.hpp) are const and may run at the same time,
/// each with a tape of its own. Results are the same bits for every executor and number of threads.
/// Errors: std::invalid_argument, with outputs and gradients left as they were (a tape then holds no pass, or the one
/// before); what a part throws while it works comes out unchanged, and in a backward pass leaves dx and the gradient
/// half written.
template <class R, class G, class X, class L = Losses<>>
struct Layer : LayerPasses<Layer<R, G, X, L>>, private detail::CheckedParts<R, G, X, L> {
  using Scalar = typename R::Scalar;
  using S = Scalar;
  using Tape = LayerTape<S, typename R::Tape, typename X::Tape>;

  R router;
  G gate;
  std::vector<X> experts;
  L losses;
  DispatchOptions dispatching;  ///< The capacity, and what happens around it; a Capacity alone converts.

  /// Holds nothing yet, as a member of a struct of one's own before it is filled: every pass is refused until a layer
  /// is assigned to it.
  Layer() requires(
      std::default_initializable<R>&& std::default_initializable<G>&& std::default_initializable<decltype(L::all)>)
      : router(), gate(), losses(std::make_from_tuple<L>(decltype(L::all)())) {}

  Layer(R router_, G gate_, std::vector<X> experts_, L losses_ = {}, DispatchOptions dispatching_ = {})
      : router(std::move(router_)),
        gate(std::move(gate_)),
        experts(std::move(experts_)),
        losses(std::move(losses_)),
        dispatching(dispatching_) {
    check();
  }
  Layer(R router_, G gate_, std::vector<X> experts_, DispatchOptions dispatching_)
      : Layer(std::move(router_), std::move(gate_), std::move(experts_), L{}, dispatching_) {}

  /// D; 0 if tokens of any width will do.
  Index width() const { return router.width(); }

  /// O for tokens of width D.
  Index output_width(Index width) const {
    detail::require_filled("Layer", experts.size());
    return detail::output_width(experts.front(), width);
  }

  // The forward pass in three steps. What takes the place of one needs no copy of the others: a loop of one's own over
  // experts reads the plan and fills tape.y_NO (N, O), with moe::dispatch for its input.

  /// y_TO (T, O), which must not overlap the tokens in memory.
  template <class Exec = DefaultExecutor>
  void forward_into(const Batch<S>& batch, MatrixRef<S> y_TO, Tape& tape, const Exec& executor = {}) const {
    detail::require_output("Layer::forward: y", y_TO, batch, output_width(batch.x_TD.cols()));
    route(batch, tape, executor);
    run_experts(batch, tape, executor);
    combine(batch, tape, y_TO, executor);
  }

  /// Decides who goes where: tape.routing and tape.plan. An earlier pass on the tape is gone.
  template <class Exec = DefaultExecutor>
  void route(const Batch<S>& batch, Tape& tape, const Exec& executor = {}) const {
    detail::check_batch(*this, batch);
    Random* random = tape.draws();
    tape.begin(batch, router.experts());
    detail::router_forward(router, batch, tape, random, executor);  // score every token against every expert
    detail::handle_non_finite(dispatching.non_finite, tape.routing, &batch);
    detail::gate_forward(gate, batch, tape.routing, random);               // who goes to whom, and with which weight
    tape.plan.build(batch, tape.routing, dispatching, random != nullptr);  // group by expert; overflow is dropped
    tape.y_NO.resize(0, 0);                                                // what lies there is of another pass
    tape.routed_width = batch.x_TD.cols();
    tape.layer = experts.data();
  }

  /// tape.y_NO: the experts' outputs for the slots that route() decided. Their inputs are in tape.x_ND where a backward
  /// pass may follow.
  template <class Exec = DefaultExecutor>
  void run_experts(const Batch<S>& batch, Tape& tape, const Exec& executor = {}) const {
    detail::require_routed("Layer::run_experts", *this, batch, tape);
    const detail::DispatchedTokens<S> tokens{batch.x_TD, tape.plan};
    detail::begin_experts(experts, tape);
    detail::set_tokens(batch, tape.plan, tape.experts);
    detail::experts_forward<X, S>(experts, tape.plan.first_slot, batch.x_TD.cols(), tape, tokens.inputs(), executor);
  }

  /// y_TO (T, O): the weighted slots of tape.y_NO (N, O), added up by token.
  template <class Exec = DefaultExecutor>
  void combine(const Batch<S>& batch, Tape& tape, MatrixRef<S> y_TO, const Exec& executor = {}) const {
    detail::require_routed("Layer::combine", *this, batch, tape);
    detail::require_slots("Layer::combine: tape.y_NO", tape.y_NO, tape.plan, output_width(batch.x_TD.cols()));
    detail::require_output("Layer::combine: y", y_TO, batch, tape.y_NO.cols());
    moe::combine<S>(tape.y_NO, tape.plan, y_TO, executor);
    if (dispatching.pass_dropped) pass_dropped<S>(batch.x_TD, tape.routing, tape.plan, y_TO);
    tape.width = tape.routed_width;
  }

  /// The auxiliary losses of the pass that `tape` recorded, each times its coefficient, in sum; those of experts that
  /// are layers themselves with it. `losses.report(tape.routing)` has them by name.
  S auxiliary_loss(const Tape& tape) const {
    require(tape.width >= 0 && tape.plan.experts() == static_cast<Index>(experts.size()),
            "Layer::auxiliary_loss: the tape holds no forward pass of a layer of ", experts.size(), " experts");
    detail::require_own_tape("Layer::auxiliary_loss", tape.layer, experts.data());
    S sum = losses.value(tape.routing);
    detail::add_losses(experts, tape.plan.first_slot, tape, sum);
    return sum;
  }

  /// The backward pass, in three steps too. dx_TD (T, D), given dy_TO (T, O); gradient += that of the output and of the
  /// auxiliary losses. dx may overlap dy unless dropped choices are passed (pass_dropped).
  template <class Exec = DefaultExecutor>
  void backward_into(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD, Layer& gradient,
                     const Exec& executor = {}) const {
    detail::check_backward(*this, batch, tape, gradient);
    detail::check_output_gradient(*this, batch, dy_TO, tape, dx_TD);
    send_back(dy_TO, tape, executor);
    run_back(tape.dy_NO, tape, gradient, executor);
    route_back(batch, &dy_TO, tape, dx_TD, gradient, executor);
  }

  /// tape.dy_NO and tape.dweight_N, the gradients of the slots' outputs and weights, for backward passes of experts of
  /// one's own, which read tape.dy_NO and fill tape.dx_ND (N, D).
  template <class Exec = DefaultExecutor>
  void combine_backward(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, const Exec& executor = {}) const {
    detail::check_pass(*this, batch, tape);
    require_shape("Layer::combine_backward: dy", dy_TO, batch.tokens(), tape.y_NO.cols());
    send_back(dy_TO, tape, executor);
    tape.dx_ND.resize(0, 0);  // what lies there is of another pass
  }

  /// tape.dx_ND from tape.dy_NO; gradient += that of the experts.
  template <class Exec = DefaultExecutor>
  void run_experts_backward(const Batch<S>& batch, Tape& tape, Layer& gradient, const Exec& executor = {}) const {
    detail::check_backward(*this, batch, tape, gradient);
    detail::require_sent_back("Layer::run_experts_backward", tape);
    run_back(tape.dy_NO, tape, gradient, executor);
  }

  /// dx_TD (T, D) from tape.dx_ND and tape.dweight_N; gradient += that of router and gate, of the losses too. dy_TO is
  /// read where dropped choices are passed.
  template <class Exec = DefaultExecutor>
  void route_backward(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD, Layer& gradient,
                      const Exec& executor = {}) const {
    detail::check_pass(*this, batch, tape);
    detail::require_sent_back("Layer::route_backward", tape);
    check_gradient(gradient);
    detail::check_output_gradient(*this, batch, dy_TO, tape, dx_TD);
    detail::require_slots("Layer::route_backward: tape.dx_ND", tape.dx_ND, tape.plan, batch.x_TD.cols());
    route_back(batch, &dy_TO, tape, dx_TD, gradient, executor);
  }

  /// backward_into from the gradients of the slots' outputs (N, O) and weights (N): for losses on slots
  /// (moe/objective/mixture.hpp).
  template <class Exec = DefaultExecutor>
  void backward_from_slots(const Batch<S>& batch, ConstMatrixRef<S> dy_NO, Eigen::Ref<const Vector<S>> dweight_N,
                           Tape& tape, MatrixRef<S> dx_TD, Layer& gradient, const Exec& executor = {}) const {
    check_backward(batch, tape, dx_TD, gradient);
    begin_backward(dy_NO, dweight_N, tape);
    run_back(dy_NO, tape, gradient, executor);
    route_back(batch, nullptr, tape, dx_TD, gradient, executor);
  }

  /// backward_into where the experts' own backward passes have been run: from the gradients of the slots' inputs (N, D)
  /// and weights (N) (moe/objective/hierarchical_mixture.hpp).
  template <class Exec = DefaultExecutor>
  void backward_from_inputs(const Batch<S>& batch, ConstMatrixRef<S> dx_ND, Eigen::Ref<const Vector<S>> dweight_N,
                            Tape& tape, MatrixRef<S> dx_TD, Layer& gradient, const Exec& executor = {}) const {
    detail::check_pass(*this, batch, tape);
    check_gradient(gradient);
    detail::require_output("Layer::backward: dx", dx_TD, batch, batch.x_TD.cols());
    detail::require_slots("Layer::backward_from_inputs: dx_ND", dx_ND, tape.plan, batch.x_TD.cols());
    begin_backward(tape.y_NO, dweight_N, tape);
    tape.dx_ND = dx_ND;
    route_back(batch, nullptr, tape, dx_TD, gradient, executor);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("router", f, self.router...);
    visit_part("gate", f, self.gate...);
    visit_list("experts", f, self.experts...);
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("router", f, self.router...);
    visit_part_buffers("gate", f, self.gate...);
    visit_list_buffers("experts", f, self.experts...);
  }

  /// Throws std::invalid_argument, with the numbers, unless the parts fit together.
  void check() const {
    detail::check_parts(*this);
    if (router.width() > 0) detail::check_experts(*this, router.width());
  }

  /// The same, for tokens of this width: what an outer layer calls for an expert.
  void check(Index width) const {
    check();
    detail::check_router(*this, width);
    detail::check_experts(*this, width);
  }

  /// Throws unless the last forward pass on the tape was this layer's.
  void check_tape(const Tape& tape) const { detail::require_own_tape("Layer::backward", tape.layer, experts.data()); }

  /// Throws unless the gradient is another value, of this layer's shapes.
  void check_gradient(const Layer& gradient) const { detail::check_layer_gradient(*this, gradient); }

  /// Throws unless a backward pass of what the tape recorded may write to these.
  void check_backward(const Batch<S>& batch, const Tape& tape, ConstMatrixRef<S> dx_TD, const Layer& gradient) const {
    detail::check_backward(*this, batch, tape, gradient);
    detail::require_output("Layer::backward: dx", dx_TD, batch, batch.x_TD.cols());
  }

 private:
  // What the steps of the backward pass do once all is checked.

  template <class Exec>
  void send_back(const ConstMatrixRef<S>& dy_TO, Tape& tape, const Exec& executor) const {
    moe::combine_backward<S>(dy_TO, tape.plan, tape.y_NO, tape.dy_NO, tape.dweight_N, executor);  // tokens to slots
    begin_backward(tape.dy_NO, tape.dweight_N, tape);
  }

  /// The gradient of the auxiliary losses comes first: should one refuse, nothing has been written.
  void begin_backward(ConstMatrixRef<S> dy_NO, Eigen::Ref<const Vector<S>> dweight_N, Tape& tape) const {
    tape.begin_backward(dy_NO, dweight_N);
    losses.backward(tape.routing, tape.loss_scale, tape.drouting);  // losses to probabilities and logits
  }

  template <class Exec>
  void run_back(ConstMatrixRef<S> dy_NO, Tape& tape, Layer& gradient, const Exec& executor) const {
    static_assert(TrainableExpert<X, S>,
                  "moe::Layer::backward: the expert cannot be trained: it needs backward(x, dy, tape, dx, gradient) "
                  "const and visit_parameters; see moe/concepts.hpp");
    detail::experts_backward<X, S>(experts, tape.plan.first_slot, dy_NO, tape, gradient.experts, executor);
  }

  /// Without dy, nothing passes the experts by.
  template <class Exec>
  void route_back(const Batch<S>& batch, const ConstMatrixRef<S>* dy_TO, Tape& tape, MatrixRef<S> dx_TD,
                  Layer& gradient, const Exec& executor) const {
    static_assert(TrainableGate<G, S>,
                  "moe::Layer::backward: the gate cannot be trained: it, or the gate inside it, needs "
                  "backward(routing, drouting) const; see moe/concepts.hpp");
    for (Index t = 0; t < dx_TD.rows(); ++t) std::fill_n(detail::row_at(dx_TD, t), dx_TD.cols(), S(0));
    if (dispatching.pass_dropped && dy_TO != nullptr)
      pass_dropped_backward<S>(batch.x_TD, *dy_TO, tape.routing, tape.plan, tape.drouting, dx_TD);
    if (dispatching.weigh_input || dispatching.straight_through)
      add_input_weight_gradient<S>(batch.x_TD, tape.dx_ND, tape.plan, tape.dweight_N);
    tape.plan.backward(tape.dweight_N, tape.drouting);                  // slots' weights to choices' weights
    detail::gate_backward<S>(gate, batch, tape, dx_TD, gradient.gate);  // weights and probabilities to logits
    detail::router_backward<S>(router, batch, tape, dx_TD, gradient.router, executor);  // logits to tokens
    dispatch_backward<S>(tape.dx_ND, tape.plan, dx_TD, executor);                       // slots to tokens
    tape.sent_back = false;
  }
};

template <class R, class G, class X>
Layer(R, G, std::vector<X>) -> Layer<R, G, X>;
template <class R, class G, class X, std::convertible_to<DispatchOptions> D>
Layer(R, G, std::vector<X>, D) -> Layer<R, G, X>;
template <class R, class G, class X, class L>
Layer(R, G, std::vector<X>, L) -> Layer<R, G, X, L>;
template <class R, class G, class X, class L>
Layer(R, G, std::vector<X>, L, DispatchOptions) -> Layer<R, G, X, L>;

MOE_NAMESPACE_END
