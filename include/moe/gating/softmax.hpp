// The dense mixture of 1991: every token goes to every expert.
#pragma once

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"

MOE_NAMESPACE_BEGIN

/// All experts, weighed with the softmax of the logits (Jacobs et al. 1991): TopK with k = E.
struct Softmax {
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    all(routing.experts()).route(batch, routing, random);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    all(routing.experts()).backward(routing, drouting);
  }

 private:
  static constexpr TopK all(Index experts) { return {.k = experts, .weights = ChoiceWeights::probabilities()}; }
};

MOE_NAMESPACE_END
