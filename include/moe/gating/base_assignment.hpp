// BASE layers: tokens are assigned to experts in exactly equal numbers, at nearly the largest total score.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/sigmoid_weights.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// In training (with a generator) each expert gets T / E tokens, the first T mod E experts one more, by an auction
/// (Bertsekas) of the experts' places: the sum of the assigned logits is within T * step of the largest possible. In
/// evaluation each token goes to its best expert. Weight: sigmoid(logit) (Lewis et al. 2021, BASE layers). The paper's
/// output, a f(x) + (1 - a) x, is x plus this layer's with experts that return f(x) - x.
struct BaseAssignment {
  /// A bid rises by at least this share of the logits' range, and by 1e-4 (fairseq: 1 / 50).
  double step_share = 0.02;

  void check(Index) const {
    detail::require(step_share > 0 && step_share <= 1, "BaseAssignment: step_share is ", step_share,
                    ", it must be in (0, 1]");
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    TopK{.k = 1, .weights = ChoiceWeights::probabilities}.route(batch, routing, random);
    if (random != nullptr) auction(routing);
    detail::weigh_by_sigmoid(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    detail::weigh_by_sigmoid_backward(routing, drouting);
    detail::Weighing{ChoiceWeights::uniform}.backward(routing, drouting);
  }

 private:
  template <class S>
  struct Place {
    S price;
    Index owner;  // an index of a choice; -1: free
  };

  /// Reassigns the choices, one for each token. A token bids for the cheapest place of the expert that gives it the
  /// largest logit less price, as much more as that expert is worth to it over the second best.
  template <class S>
  void auction(Routing<S>& routing) const {
    const auto tokens = static_cast<Index>(routing.choices.size());
    const Index experts = routing.experts();
    const auto at = [](Index i) { return static_cast<std::size_t>(i); };
    S lowest = 0, highest = 0;
    const auto value = [&](Index i, Index e) {  // as fairseq: what is not finite counts as the smallest that is
      const S logit = routing.selection_logits_TE()(routing.choices[at(i)].token, e);
      return detail::has_finite_bits(logit) ? logit : lowest;
    };
    bool first = true;
    for (Index i = 0; i < tokens; ++i)
      for (Index e = 0; e < experts; ++e) {
        const S logit = routing.selection_logits_TE()(routing.choices[at(i)].token, e);
        if (!detail::has_finite_bits(logit)) continue;
        lowest = first ? logit : (std::min)(lowest, logit);
        highest = first ? logit : (std::max)(highest, logit);
        first = false;
      }
    const S step = (std::max)(S(1e-4), static_cast<S>(step_share) * (highest - lowest));

    std::vector<std::vector<Place<S>>> places(at(experts));
    for (Index e = 0; e < experts; ++e)
      places[at(e)].assign(at(tokens / experts + (e < tokens % experts ? 1 : 0)), {S(0), Index{-1}});
    std::vector<Index> waiting(at(tokens));
    for (Index i = 0; i < tokens; ++i) waiting[at(i)] = tokens - 1 - i;  // the first token bids first
    const auto cheaper = [](const Place<S>& a, const Place<S>& b) { return a.price < b.price; };
    while (!waiting.empty()) {
      const Index bidder = waiting.back();
      waiting.pop_back();
      Index best = -1;
      S best_gain = 0, second_gain = 0;
      bool has_second = false;
      for (Index e = 0; e < experts; ++e) {
        if (places[at(e)].empty()) continue;
        const S price = std::min_element(places[at(e)].begin(), places[at(e)].end(), cheaper)->price;
        const S gain = value(bidder, e) - price;
        if (best < 0 || gain > best_gain) {
          has_second = best >= 0;
          second_gain = best_gain;
          best = e;
          best_gain = gain;
        } else if (!has_second || gain > second_gain) {
          has_second = true;
          second_gain = gain;
        }
      }
      Place<S>& place = *std::min_element(places[at(best)].begin(), places[at(best)].end(), cheaper);
      if (place.owner >= 0) waiting.push_back(place.owner);
      place.price += (has_second ? best_gain - second_gain : S(0)) + step;
      place.owner = bidder;
      routing.choices[at(bidder)].expert = best;
    }
  }
};

static_assert(TrainableGate<BaseAssignment, float>);

MOE_NAMESPACE_END
