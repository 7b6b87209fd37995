// The Mixture-of-Experts layer: a router, a gate, a list of experts, losses and a way to dispatch, composed by value.
//
//   forward : x_TD -router-> logits_TE -gate-> choices -plan-> slots -dispatch-> x_ND -experts-> y_NO -combine-> y_TO
//   backward: dy_TO -combine'-> dy_NO, dweights -experts'-> dx_ND -losses'-> dprobabilities -gate'-> dlogits_TE
//             -router'-> dx_TD + dispatch'(dx_ND)
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/layer/run_experts.hpp"
#include "moe/layer/run_routing.hpp"
#include "moe/layer/tape.hpp"
#include "moe/loss/losses.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/dispatch.hpp"
#include "moe/routing/dispatch_options.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/plan.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// y_t = sum over the experts e chosen for token t of weight * expert_e(x_t). The residual is the caller's: a token
/// that is padding, or that no expert had room for, gets a zero row.
///
/// A value: copy it, assign it, keep a second one as its gradient (`zeros_like`: a copy that still holds the weights is
/// added to all the same, nothing can tell). The passes are const and may run at the same time, each with a tape of its
/// own. Results are the same bits for every executor and number of threads.
/// Errors: std::invalid_argument, with outputs and gradients left as they were (a tape then holds no pass, or the one
/// before); what a part throws while it works comes out unchanged, and in a backward pass leaves dx and the gradient
/// half written.
template <class R, class G, class X, class L = Losses<>>
struct Layer {
  static_assert(
      ScoringRouter<R>,
      "moe::Layer: R is not a router: it needs Scalar, Tape, experts(), width(), forward(batch, routing, tape, "
      "random) const; see moe/concepts.hpp");
  using Scalar = typename R::Scalar;
  using S = Scalar;
  static_assert(detail::ComputesIn<S>::is_known);
  static_assert(!detail::computes_in<X, float, double, S>,
                "moe::Layer: the experts compute in float, the router in double; make both of one scalar type");
  static_assert(!detail::computes_in<X, double, float, S>,
                "moe::Layer: the experts compute in double, the router in float; make both of one scalar type");
  static_assert(Gate<G, S>,
                "moe::Layer: G is not a gate: it needs route(batch, routing, random) const; see moe/concepts.hpp");
  static_assert(Expert<X, S>,
                "moe::Layer: X is not an expert: it needs Tape and forward(x, y, tape) const; see moe/concepts.hpp");
  static_assert(detail::are_losses<L, S>,
                "moe::Layer: L is not a loss: it must be Losses{...} of values that have coefficient, name(), "
                "value(routing) and backward(routing, scale, drouting) const; see moe/concepts.hpp");

  R router;
  G gate;
  std::vector<X> experts;
  L losses;
  DispatchOptions dispatching;  ///< The capacity, and what happens around it; a Capacity alone converts.

  using Tape = LayerTape<S, typename R::Tape, typename X::Tape>;

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

  /// O for tokens of width D.
  Index output_width(Index width) const { return detail::output_width(experts.front(), width); }

  /// y_TO for the tokens; inference: no noise, the inference capacity.
  template <class Exec = DefaultExecutor>
  Matrix<S> forward(const Batch<S>& batch) const {
    Tape tape;
    tape.keep_activations = false;
    return forward(batch, tape, Exec{});
  }

  /// The same with a tape: for training (a seeded tape), or to spare allocations.
  template <class Exec = DefaultExecutor>
  Matrix<S> forward(const Batch<S>& batch, Tape& tape, const Exec& executor = {}) const {
    Matrix<S> y_TO(batch.tokens(), experts.empty() ? 0 : output_width(batch.x_TD.cols()));
    forward_into(batch, y_TO, tape, executor);
    return y_TO;
  }

  /// The same into the caller's memory, which must not overlap the batch's.
  template <class Exec = DefaultExecutor>
  void forward_into(const Batch<S>& batch, MatrixRef<S> y_TO, Tape& tape, const Exec& executor = {}) const {
    check(batch);
    check_output("Layer::forward: y", y_TO, batch, output_width(batch.x_TD.cols()));
    Random* random = tape.random ? &*tape.random : nullptr;
    tape.begin(batch, router.experts());

    detail::router_forward(router, batch, tape, random, executor);  // score every token against every expert
    detail::handle_non_finite(dispatching.non_finite, tape.routing, &batch);
    gate.route(batch, tape.routing, random);                                // who goes to whom, and with which weight
    tape.plan.build(batch, tape.routing, dispatching, random != nullptr);   // group by expert; overflow is dropped
    detail::experts_forward<X, S>(experts, batch, tape, random, executor);  // copy tokens into slots; map them
    combine<S>(tape.y_NO, tape.plan, y_TO, executor);                       // add the weighted slots up, by token
    if (dispatching.pass_dropped) pass_dropped<S>(batch.x_TD, tape.routing, tape.plan, y_TO);
    tape.width = batch.x_TD.cols();
    tape.layer = experts.data();
  }

  /// The auxiliary losses of the pass that `tape` recorded, each times its coefficient, in sum; those of experts that
  /// are layers themselves with it. `losses.report(tape.routing)` has them by name.
  S auxiliary_loss(const Tape& tape) const {
    require(tape.width >= 0 && tape.experts.size() == experts.size(),
            "Layer::auxiliary_loss: the tape holds no forward pass of a layer of ", experts.size(), " experts");
    detail::require_own_tape("Layer::auxiliary_loss", tape.layer, experts.data());
    S sum = losses.value(tape.routing);
    if constexpr (detail::HasAuxiliaryLoss<X>)
      for (Index e = 0; e < tape.plan.experts(); ++e)
        if (tape.plan.rows_of(e) > 0)
          sum += experts[static_cast<std::size_t>(e)].auxiliary_loss(tape.experts[static_cast<std::size_t>(e)]);
    return sum;
  }

  /// dx_TD, given dy_TO of the pass that `tape` recorded; gradient += that of the task and of the auxiliary losses.
  template <class Exec = DefaultExecutor>
  Matrix<S> backward(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, Layer& gradient,
                     const Exec& executor = {}) const {
    Matrix<S> dx_TD(batch.tokens(), batch.x_TD.cols());
    backward_into(batch, std::move(dy_TO), tape, dx_TD, gradient, executor);
    return dx_TD;
  }

  /// The same into the caller's memory.
  template <class Exec = DefaultExecutor>
  void backward_into(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD, Layer& gradient,
                     const Exec& executor = {}) const {
    check_backward(batch, tape, dx_TD, gradient);
    require_shape("Layer::backward: dy", dy_TO, batch.tokens(), tape.y_NO.cols());
    require(!dispatching.pass_dropped || !detail::overlap<S>(dx_TD, dy_TO),
            "Layer::backward: with pass_dropped dx must not overlap dy in memory");
    combine_backward<S>(dy_TO, tape.plan, tape.y_NO, tape.dy_NO, tape.dweight_N, executor);
    begin_backward(tape.dy_NO, tape.dweight_N, tape);
    experts_backward(tape.dy_NO, tape, gradient, executor);
    dx_TD.setZero();
    if (dispatching.pass_dropped)
      pass_dropped_backward<S>(batch.x_TD, dy_TO, tape.routing, tape.plan, tape.drouting, dx_TD);
    finish_backward(batch, tape, dx_TD, gradient, executor);
  }

  /// The same from the gradients of the slots' outputs and weights: for losses on slots (moe/objective/mixture.hpp).
  template <class Exec = DefaultExecutor>
  void backward_from_slots(const Batch<S>& batch, ConstMatrixRef<S> dy_NO, Eigen::Ref<const Vector<S>> dweight_N,
                           Tape& tape, MatrixRef<S> dx_TD, Layer& gradient, const Exec& executor = {}) const {
    check_backward(batch, tape, dx_TD, gradient);
    begin_backward(dy_NO, dweight_N, tape);
    experts_backward(dy_NO, tape, gradient, executor);
    dx_TD.setZero();
    finish_backward(batch, tape, dx_TD, gradient, executor);
  }

  /// The same where the experts' own backward passes have been run: from the gradients of the slots' inputs and weights
  /// (moe/objective/hierarchical_mixture.hpp).
  template <class Exec = DefaultExecutor>
  void backward_from_inputs(const Batch<S>& batch, ConstMatrixRef<S> dx_ND, Eigen::Ref<const Vector<S>> dweight_N,
                            Tape& tape, MatrixRef<S> dx_TD, Layer& gradient, const Exec& executor = {}) const {
    check_backward(batch, tape, dx_TD, gradient);
    require(dx_ND.rows() == tape.x_ND.rows() && dx_ND.cols() == tape.x_ND.cols(),
            "Layer::backward_from_inputs: a gradient of ", dx_ND.rows(), " x ", dx_ND.cols(), " inputs, there are ",
            tape.x_ND.rows(), " x ", tape.x_ND.cols());
    begin_backward(tape.y_NO, dweight_N, tape);
    tape.dx_ND = dx_ND;
    dx_TD.setZero();
    finish_backward(batch, tape, dx_TD, gradient, executor);
  }

  /// As an expert of another layer: the outer layer's tasks are the parallel ones.
  void forward(ConstMatrixRef<S> x_TD, MatrixRef<S> y_TO, Tape& tape) const {
    forward_into(tape.inner_batch(x_TD), y_TO, tape, Serial{});
  }
  void backward(ConstMatrixRef<S> x_TD, ConstMatrixRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD,
                Layer& gradient) const {
    backward_into(tape.inner_batch(x_TD), dy_TO, tape, dx_TD, gradient, Serial{});
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    detail::visit_part("router", f, self.router...);
    detail::visit_part("gate", f, self.gate...);
    detail::visit_list("experts", f, self.experts...);
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    detail::visit_part_buffers("router", f, self.router...);
    detail::visit_part_buffers("gate", f, self.gate...);
    detail::visit_list_buffers("experts", f, self.experts...);
  }

  /// Throws std::invalid_argument unless the parts fit together.
  void check() const {
    const auto count = static_cast<Index>(experts.size());
    if constexpr (requires { router.check(); }) router.check();
    require(count == router.experts(), "Layer: ", count, " experts, the router scores ", router.experts());
    if constexpr (requires { gate.check(count); }) gate.check(count);
    losses.check(count, gate);
    dispatching.check(count, detail::most_choices(gate, count));
    if (router.width() > 0) check_experts(router.width());
  }

  /// The same, and that tokens of this width suit it: what an outer layer asks of an expert.
  void check(Index width) const {
    check();
    check_router(width);
    check_experts(width);
  }

  /// Throws std::invalid_argument unless the last forward pass on the tape was this layer's.
  void check_tape(const Tape& tape) const { detail::require_own_tape("Layer::backward", tape.layer, experts.data()); }

  /// Throws std::invalid_argument unless the gradient has this layer's shapes.
  void check_gradient(const Layer& gradient) const {
    require(gradient.experts.size() == experts.size(), "Layer: the gradient has ", gradient.experts.size(),
            " experts, the layer ", experts.size());
    detail::check_gradient("Layer: the gradient's router", router, gradient.router);
    detail::check_gradient("Layer: the gradient's gate", gate, gradient.gate);
    for (std::size_t e = 0; e < experts.size(); ++e)
      detail::check_gradient("Layer: the gradient's expert", experts[e], gradient.experts[e]);
  }

  /// Throws std::invalid_argument unless a backward pass of what the tape recorded may write to these.
  void check_backward(const Batch<S>& batch, const Tape& tape, ConstMatrixRef<S> dx_TD, const Layer& gradient) const {
    check(batch);
    require(tape.width >= 0, "Layer::backward: the tape holds no forward pass");
    require(tape.kept_activations, "Layer::backward: keep_activations was false in the forward pass");
    require(tape.recompute_in == tape.computed_in,
            "Layer::backward: recompute_in is not what it was in the forward pass");
    require(tape.width == batch.x_TD.cols() && tape.plan.tokens() == batch.tokens() &&
                tape.experts.size() == experts.size(),
            "Layer::backward: the tape is of ", tape.plan.tokens(), " tokens of width ", tape.width, " and ",
            tape.experts.size(), " experts, the batch has ", batch.tokens(), " of width ", batch.x_TD.cols(),
            " and the layer ", experts.size());
    check_tape(tape);
    require(tape.routing.group_size == batch.group_size, "Layer::backward: group_size is ", batch.group_size,
            ", in the forward pass it was ", tape.routing.group_size);
    detail::require_same_padding("Layer::backward", batch, tape, dispatching.non_finite == NonFinite::zero_row);
    check_output("Layer::backward: dx", dx_TD, batch, batch.x_TD.cols());
    require(&gradient != this, "Layer::backward: the gradient is the layer itself");
    check_gradient(gradient);
  }

 private:
  /// The gradient of the auxiliary losses comes first: should one refuse, nothing has been written.
  void begin_backward(ConstMatrixRef<S> dy_NO, Eigen::Ref<const Vector<S>> dweight_N, Tape& tape) const {
    tape.begin_backward(dy_NO, dweight_N);
    losses.backward(tape.routing, tape.loss_scale, tape.drouting);
  }

  /// tape.dx_ND, and the experts' gradients. Of those that have stages all refuse before any writes.
  template <class Exec>
  void experts_backward(ConstMatrixRef<S> dy_NO, Tape& tape, Layer& gradient, const Exec& executor) const {
    static_assert(TrainableExpert<X, S>,
                  "moe::Layer::backward: X cannot be trained: it needs backward(x, dy, tape, dx, gradient) const and "
                  "visit_parameters; see moe/concepts.hpp");
    detail::experts_backward<X, S>(experts, dy_NO, tape, gradient.experts, executor);
  }

  template <class Exec>
  void finish_backward(const Batch<S>& batch, Tape& tape, MatrixRef<S> dx_TD, Layer& gradient,
                       const Exec& executor) const {
    static_assert(TrainableGate<G, S>,
                  "moe::Layer::backward: G cannot be trained: it needs backward(routing, drouting) const; "
                  "see moe/concepts.hpp");
    if (dispatching.weigh_input || dispatching.straight_through)
      add_input_weight_gradient<S>(batch.x_TD, tape.dx_ND, tape.plan, tape.dweight_N);
    tape.plan.backward(tape.dweight_N, tape.drouting);                  // slots' weights to choices' weights
    detail::gate_backward<S>(gate, batch, tape, dx_TD, gradient.gate);  // weights and probabilities to logits
    detail::router_backward<S>(router, batch, tape, dx_TD, gradient.router, executor);  // logits to tokens
    dispatch_backward<S>(tape.dx_ND, tape.plan, dx_TD, executor);                       // slots to tokens
  }

  void check_router(Index width) const {
    require(router.width() == 0 || router.width() == width, "Layer: tokens of width ", width,
            ", the router is for width ", router.width());
  }

  void check_experts(Index width) const {
    for (const X& expert : experts) {
      if constexpr (requires { expert.check(width); }) expert.check(width);
      require(detail::output_width(expert, width) == output_width(width), "Layer: the experts' outputs have ",
              output_width(width), " and ", detail::output_width(expert, width), " columns");
    }
    require(!dispatching.pass_dropped || output_width(width) == width,
            "Layer: pass_dropped needs outputs as wide as the tokens, they have ", output_width(width), " and ", width,
            " columns");
  }

  void check(const Batch<S>& batch) const {
    check();
    batch.check();
    check_router(batch.x_TD.cols());
    if (router.width() == 0) check_experts(batch.x_TD.cols());
  }

  /// Rows to write into, one for each token.
  static void check_output(std::string_view what, ConstMatrixRef<S> rows, const Batch<S>& batch, Index width) {
    require_shape(what, rows, batch.tokens(), width);
    require(!detail::overlap<S>(rows, batch.x_TD), what, " overlaps the tokens in memory");
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
