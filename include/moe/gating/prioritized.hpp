// The order in which the choices of a gate are served, where experts cannot accept all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <tuple>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/logit_against_zero.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/capacity.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The order in which choices are served. Ties go by rank, then by token: all first choices, then all second ones.
enum class Priority {
  token,             ///< By token, with choices of all ranks mixed (DeepSpeed's drop policy "position" for k > 2).
  best_probability,  ///< By rank, then by the largest probability of the token: batch-prioritised routing (V-MoE,
                     ///< Riquelme et al. 2021, section 4.1; Tutel). Not the order of weights that are divided.
  best_weight = best_probability,  ///< The same, named after gates whose weights are the probabilities.
  weight,              ///< By the weight of the choice (drop policy "probs" of Megatron-Core and DeepSpeed).
  logit,               ///< By the logit of the choice.
  logit_against_zero,  ///< An error of DeepSpeed's that is fixed there, kept to reproduce it: by logit, and a token
                       ///< that did not choose the expert takes part with a logit of 0. A choice with a negative logit
                       ///< is unsent unless the expert has slots left after all of those. Needs `capacity`.
  random,  ///< By a random draw for each choice, largest first (DeepSpeed's random token selection). Without a
           ///< generator the gate's own order stays. Draws: token by token, E uniform numbers each.
};

/// Any gate, with its choices in another order of priority.
template <class G>
struct Prioritized {
  G gate;
  Priority priority = Priority::best_probability;
  Capacity capacity = Capacity::unlimited();  ///< For logit_against_zero: the capacity of the layer.

  void check(Index experts) const {
    if constexpr (requires { gate.check(experts); }) gate.check(experts);
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    gate.route(batch, routing, random);
    Vector<S>& best_T = routing.workspace.token_T;
    Buffer<Matrix<S>>& draw_TE = routing.workspace.rows_TE;
    switch (priority) {
      case Priority::token:
        return sort(routing, [](const Choice<S>& c) { return -static_cast<S>(c.token); });
      case Priority::best_probability:
        best_T.setZero(routing.tokens());
        for (Index t = 0; t < routing.tokens(); ++t)
          if (routing.is_valid(t))
            best_T(t) = key(detail::largest(routing.probabilities_TE.row(t).data(), routing.experts()));
        std::sort(routing.choices.begin(), routing.choices.end(), [&](const Choice<S>& a, const Choice<S>& b) {
          if (a.rank != b.rank || best_T(a.token) == best_T(b.token)) return comes_first(a, b);
          return best_T(a.token) > best_T(b.token);
        });
        return;
      case Priority::weight:
        return sort(routing, [](const Choice<S>& c) { return key(c.weight); });
      case Priority::logit:
        return sort(routing, [&](const Choice<S>& c) { return key(routing.logits_TE(c.token, c.expert)); });
      case Priority::logit_against_zero:
        sort(routing, [&](const Choice<S>& c) { return key(routing.logits_TE(c.token, c.expert)); });
        return detail::lose_against_zero(batch, routing, capacity, random != nullptr);
      case Priority::random:
        if (random == nullptr) return;
        draw_TE.resize(routing.tokens(), routing.experts());
        for (Index t = 0; t < routing.tokens(); ++t)
          if (routing.is_valid(t))
            for (Index e = 0; e < routing.experts(); ++e) draw_TE(t, e) = static_cast<S>(random->uniform());
        return sort(routing, [&](const Choice<S>& c) { return draw_TE(c.token, c.expert); });
    }
  }

  template <class S>
  requires ParameterFreeGate<G, S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    gate.backward(routing, drouting);
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("gate", f, self.gate...);
  }

 private:
  template <class S>
  static S key(S value) {
    return detail::selection_key(value);  // a NaN would make the order inconsistent
  }

  /// By rank, then by token, then by expert: the order of ties.
  template <class S>
  static bool comes_first(const Choice<S>& a, const Choice<S>& b) {
    return std::tie(a.rank, a.token, a.expert) < std::tie(b.rank, b.token, b.expert);
  }

  /// The largest first.
  template <class S, class Value>
  static void sort(Routing<S>& routing, Value value) {
    std::sort(routing.choices.begin(), routing.choices.end(), [&](const Choice<S>& a, const Choice<S>& b) {
      return value(a) != value(b) ? value(a) > value(b) : comes_first(a, b);
    });
  }
};

template <class G>
Prioritized(G) -> Prioritized<G>;
template <class G>
Prioritized(G, Priority) -> Prioritized<G>;

MOE_NAMESPACE_END
