// What a Layer checks of its parts: their types when it is compiled, and whether they fit together when it is made and
// before each pass.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/expert/properties.hpp"
#include "moe/layer/checks.hpp"
#include "moe/layer/tape.hpp"
#include "moe/loss/losses.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A sentence for each part that is not what it must be; a base, so that they are said before any other error.
template <class R, class G, class X, class L>
struct CheckedParts {
  static_assert(ScoringRouter<R>,
                "moe::Layer: what is given as router is not a router: it needs Scalar, Tape, experts(), width(), "
                "forward(batch, routing, tape, random) const; see moe/concepts.hpp");
  using S = typename R::Scalar;
  static_assert(ComputesIn<S>::is_known);
  static_assert(!computes_in<X, float, double, S>,
                "moe::Layer: the experts compute in float, the router in double; make both of one scalar type");
  static_assert(!computes_in<X, double, float, S>,
                "moe::Layer: the experts compute in double, the router in float; make both of one scalar type");
  static_assert(Gate<G, S>,
                "moe::Layer: what is given as gate is not a gate: it needs route(batch, routing, random) const; see "
                "moe/concepts.hpp");
  static_assert(Expert<X, S>,
                "moe::Layer: what is given as expert is not an expert: it needs Tape and forward(x, y, tape) const; "
                "see moe/concepts.hpp");
  static_assert(are_losses<L, S>,
                "moe::Layer: what is given as losses is not a loss: it must be Losses{...} of values that have "
                "coefficient, name(), value(routing) and backward(routing, scale, drouting) const; see "
                "moe/concepts.hpp");
};

template <class Layer>
void check_parts(const Layer& layer) {
  const auto count = static_cast<Index>(layer.experts.size());
  require(count == layer.router.experts(), "Layer: ", count, " experts, the router scores ", layer.router.experts());
  require_filled("Layer", layer.experts.size());
  if constexpr (requires { layer.router.check(); }) layer.router.check();
  if constexpr (requires { layer.gate.check(count); }) layer.gate.check(count);
  layer.losses.check(count, layer.gate);
  layer.dispatching.check(count, most_choices(layer.gate, count));
}

template <class Layer>
void check_router(const Layer& layer, Index width) {
  require(layer.router.width() == 0 || layer.router.width() == width, "Layer: tokens of width ", width,
          ", the router is for width ", layer.router.width());
}

template <class Layer>
void check_experts(const Layer& layer, Index width) {
  const Index outputs = output_width(layer.experts.front(), width);
  for (const auto& expert : layer.experts) {
    if constexpr (requires { expert.check(width); }) expert.check(width);
    require(output_width(expert, width) == outputs, "Layer: the experts' outputs have ", outputs, " and ",
            output_width(expert, width), " columns");
  }
  require(!layer.dispatching.pass_dropped || outputs == width,
          "Layer: pass_dropped needs outputs as wide as the tokens, they have ", outputs, " and ", width, " columns");
}

template <class Layer>
void check_layer_gradient(const Layer& layer, const Layer& gradient) {
  require(&gradient != &layer, "Layer::backward: the gradient is the layer itself");
  check_gradient("Layer: the gradient's router", layer.router, gradient.router);
  check_gradient("Layer: the gradient's gate", layer.gate, gradient.gate);
  check_gradients_of_experts("Layer: the gradient's expert", layer.experts, gradient.experts);
}

/// The parts fit together, and tokens of this batch suit them.
template <class Layer, class S>
void check_batch(const Layer& layer, const Batch<S>& batch) {
  layer.check();
  batch.check();
  check_router(layer, batch.x_TD.cols());
  if (layer.router.width() == 0) check_experts(layer, batch.x_TD.cols());
}

/// The tape holds a pass of this batch by this layer.
template <class Layer, class S>
void check_pass(const Layer& layer, const Batch<S>& batch, const typename Layer::Tape& tape) {
  check_batch(layer, batch);
  require_pass("Layer::backward", batch, tape, tape.routing.valid_T, tape.routing.group_size, layer.experts.data(),
               layer.dispatching.non_finite == NonFinite::zero_row);
}

/// The same, with all that a backward pass of the experts reads; the gradient may be added to.
template <class Layer, class S>
void check_backward(const Layer& layer, const Batch<S>& batch, const typename Layer::Tape& tape,
                    const Layer& gradient) {
  check_pass(layer, batch, tape);
  require_kept("Layer::backward", tape, layer.experts.size());
  layer.check_gradient(gradient);
}

/// dx may be written, given dy.
template <class Layer, class S>
void check_output_gradient(const Layer& layer, const Batch<S>& batch,
                           const std::type_identity_t<ConstMatrixRef<S>>& dy_TO, const typename Layer::Tape& tape,
                           const std::type_identity_t<ConstMatrixRef<S>>& dx_TD) {
  require_output("Layer::backward: dx", dx_TD, batch, batch.x_TD.cols());
  require_shape("Layer::backward: dy", dy_TO, batch.tokens(), tape.y_NO.cols());
  require(!layer.dispatching.pass_dropped || !overlap<S>(dx_TD, dy_TO),
          "Layer::backward: with pass_dropped dx must not overlap dy in memory");
}

/// The tape holds the slots of this batch, decided by this layer.
template <class Layer, class S>
void require_routed(std::string_view what, const Layer& layer, const Batch<S>& batch,
                    const typename Layer::Tape& tape) {
  batch.check();
  require(tape.routed_width == batch.x_TD.cols() && tape.routing.tokens() == batch.tokens() &&
              tape.routing.group_size == batch.group_size && tape.layer == layer.experts.data() &&
              tape.plan.experts() == static_cast<Index>(layer.experts.size()),
          what, ": the tape does not hold a routing of this batch by this layer; call its route() before");
  require_same_padding(what, batch, tape.routing.valid_T, layer.dispatching.non_finite == NonFinite::zero_row);
}

/// combine_backward() of the pass on the tape has been called, and route_backward() not yet.
template <class S>
void require_sent_back(std::string_view what, const PassTape<S>& tape) {
  require(tape.sent_back, what, ": the tape does not hold the gradients of its slots; call combine_backward() before");
}

/// A row of this width for every slot of the plan.
template <class S>
void require_slots(std::string_view what, const std::type_identity_t<ConstMatrixRef<S>>& rows, const Plan<S>& plan,
                   Index width) {
  require_shape(what, rows, plan.slots(), width);
}

}  // namespace detail

MOE_NAMESPACE_END
