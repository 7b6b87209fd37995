// Sigmoid weights of choices that logits did not make alone: what Sinkhorn, BASE and threshold gates share.
#pragma once

#include <cmath>
#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
S sigmoid_of(S logit) {
  const S decay = std::exp(-std::abs(logit));
  return (logit >= 0 ? S(1) : decay) / (S(1) + decay);
}

/// log(1 + exp(logit)) without overflow.
template <class S>
S softplus_of(S logit) {
  return (logit > 0 ? logit : S(0)) + std::log1p(std::exp(-std::abs(logit)));
}

template <class S>
void weigh_by_sigmoid(Routing<S>& routing) {
  for (Choice<S>& c : routing.choices) c.weight = sigmoid_of(routing.weighing_logits_TE()(c.token, c.expert));
}

/// dz = dw w (1 - w)
template <class S>
void weigh_by_sigmoid_backward(const Routing<S>& routing, Routing<S>& drouting) {
  for (std::size_t i = 0; i < routing.choices.size(); ++i) {
    const Choice<S>& c = routing.choices[i];
    drouting.weighing_logits_TE()(c.token, c.expert) += drouting.choices[i].weight * c.weight * (S(1) - c.weight);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
