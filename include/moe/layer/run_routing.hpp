// Runs the router and the gate of a layer over its tape, in the form of the pass that each of them has: a router may
// take an executor, a gate may have parameters of its own.
#pragma once

#include "moe/core/core.hpp"
#include "moe/core/number_bits.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The logits of all tokens.
template <class R, class S, class Tape, class Exec>
void router_forward(const R& router, const Batch<S>& batch, Tape& tape, Random* random, const Exec& executor) {
  if constexpr (requires { router.forward(batch, tape.routing, tape.router, random, executor); })
    router.forward(batch, tape.routing, tape.router, random, executor);
  else
    router.forward(batch, tape.routing, tape.router, random);
}

/// dx_TD and the router's gradient += those through the logits.
template <class S, class R, class Tape, class Exec>
void router_backward(const R& router, const Batch<S>& batch, Tape& tape, MatrixRef<S> dx_TD, R& gradient,
                     const Exec& executor) {
  if constexpr (requires {
                  router.backward(batch, tape.routing, tape.drouting, tape.router, dx_TD, gradient, executor);
                })
    router.backward(batch, tape.routing, tape.drouting, tape.router, dx_TD, gradient, executor);
  else {
    static_assert(
        requires { router.backward(batch, tape.routing, tape.drouting, tape.router, dx_TD, gradient); },
        "moe::Layer::backward: the router cannot be trained: it needs backward(batch, routing, drouting, tape, dx_TD, "
        "gradient) const; see moe/concepts.hpp");
    router.backward(batch, tape.routing, tape.drouting, tape.router, dx_TD, gradient);
  }
}

/// Runs the gate. Throws std::invalid_argument if it left a token's probabilities unwritten, whose memory may hold
/// anything: the first of each token is marked by a NaN whose bits no arithmetic makes of numbers.
template <class G, class S>
void gate_forward(const G& gate, const Batch<S>& batch, Routing<S>& routing, Random* random) {
  for (Index t = 0; t < routing.tokens(); ++t)
    if (routing.is_valid(t)) mark_unwritten(routing.probabilities_TE(t, 0));
  gate.route(batch, routing, random);
  if (routing.probabilities_TE.rows() != routing.tokens()) return;
  for (Index t = 0; t < routing.tokens(); ++t)
    require(!routing.is_valid(t) || !is_unwritten(routing.probabilities_TE(t, 0)),
            "Layer: the gate left the probabilities of token ", batch.number_of(t),
            " unwritten; routing.set_probabilities() writes the softmax of the logits");
}

/// The logits' gradient += that through weights and probabilities; that of a gate with parameters too, and dx_TD.
template <class S, class G, class Tape>
void gate_backward(const G& gate, const Batch<S>& batch, Tape& tape, MatrixRef<S> dx_TD, G& gradient) {
  if constexpr (requires { gate.backward(tape.routing, tape.drouting); })
    gate.backward(tape.routing, tape.drouting);
  else
    gate.backward(batch, tape.routing, tape.drouting, dx_TD, gradient);
}

}  // namespace detail

MOE_NAMESPACE_END
