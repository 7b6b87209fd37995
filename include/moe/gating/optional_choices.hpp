// GShard's top-2 and similar gates: the first choice is always sent, the later ones by a rule.
#pragma once

#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// A TopK whose choices after the first are sent only if their weight g is large enough. An unsent choice takes no
/// slot, and its weight is lost: the weight of the first choice stays what it was.
struct OptionalChoices {
  enum class Send {
    always,
    above_threshold,  ///< if g > threshold
    sampled,          ///< with probability g / threshold: if u < g / max(threshold, 1e-9); always without a generator
    never,
  };

  TopK top_k = {.k = 2, .weights = ChoiceWeights::renormalized()};
  Send send = Send::sampled;
  double threshold = 0.5;

  void check(Index experts) const {
    top_k.check(experts);
    require(threshold >= 0 && threshold <= 1, "OptionalChoices: threshold is ", threshold, ", it must be in [0, 1]");
  }

  /// Where the weights add up to 1 at most, no later one is more than a half.
  Index most_choices(Index) const {
    const bool only_the_first = send == Send::never || (send == Send::above_threshold && threshold >= 0.5 &&
                                                        top_k.weights.add_up_to_one_at_most());
    return only_the_first ? 1 : top_k.k;
  }

  /// Draws: rank by rank from the second, token by token, one uniform number each.
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    top_k.route(batch, routing, random);
    for (Choice<S>& c : routing.choices)
      if (c.rank > 0 && !is_sent(static_cast<double>(c.weight), random)) c.fate = Fate::unsent;
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    top_k.backward(routing, drouting);
  }

 private:
  bool is_sent(double weight, Random* random) const {
    switch (send) {
      case Send::above_threshold:
        return weight > threshold;
      case Send::sampled:
        return random == nullptr || random->uniform() < weight / (threshold > 1e-9 ? threshold : 1e-9);
      case Send::never:
        return false;
      default:
        return true;
    }
  }
};

/// GShard (Lepikhin et al. 2020, algorithm 1): top-2, weights divided by their sum, the second expert sent with
/// probability 2 g2. In evaluation it is always sent.
constexpr OptionalChoices gshard_top2() { return {}; }

/// ST-MoE (Zoph et al. 2022; lucidrains' code): top-n, the later experts sent with probability g / 0.2.
constexpr OptionalChoices st_moe_top_n(Index n) {
  return {.top_k = {.k = n, .weights = ChoiceWeights::renormalized({.epsilon = Epsilon::floor(1e-9)})},
          .threshold = 0.2};
}

MOE_NAMESPACE_END
