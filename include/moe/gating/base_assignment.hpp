// BASE layers: tokens are assigned to experts in exactly equal numbers, at nearly the largest total score.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// In training (with a generator) each expert gets T / E tokens, and the first T mod E experts one more. An auction of
/// the experts' places (Bertsekas) decides: the sum of the assigned logits is within T * step of the largest possible.
/// In evaluation each token goes to its best expert. Weight: sigmoid(logit) (Lewis et al. 2021, BASE layers). The
/// output of the paper, a f(x) + (1 - a) x, is x plus the output of this layer if the experts return f(x) - x.
struct BaseAssignment {
  /// A bid is higher than the last by at least this share of the logits' range, and by at least 1e-4 (fairseq: 1 / 50).
  double step_share = 0.02;

  void check(Index) const {
    require(step_share > 0 && step_share <= 1, "BaseAssignment: step_share is ", step_share, ", it must be in (0, 1]");
  }

  Index most_choices(Index) const { return 1; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    TopK{.k = 1, .weights = ChoiceWeights::probabilities()}.route(batch, routing, random);
    if (random != nullptr) auction(routing);
    ChoiceWeights::sigmoid().weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    ChoiceWeights::sigmoid().backward(routing, drouting);
  }

 private:
  /// The places of all experts, in the routing's workspace. The part of `order` that belongs to an expert is a heap,
  /// whose front is the expert's cheapest place; of equal prices, the first place.
  template <class S>
  struct Places {
    Index *first, *order, *owner,
        *waiting;  // E + 1; places; the choice that has a place, or -1; choices without a place
    Vector<S>& price;
    Vector<S>& cheapest_E;

    Places(Routing<S>& routing, Index count)
        : price(routing.workspace.token_T), cheapest_E(routing.workspace.expert_E) {
      const Index experts = routing.experts();
      routing.workspace.indices.resize(static_cast<std::size_t>(experts + 1 + 3 * count));
      first = routing.workspace.indices.data();
      order = first + experts + 1, owner = order + count, waiting = owner + count;
      first[0] = 0;
      for (Index e = 0; e < experts; ++e) first[e + 1] = first[e] + count / experts + (e < count % experts ? 1 : 0);
      std::iota(order, owner, Index{0});
      std::fill(owner, waiting, Index{-1});
      price.setZero(routing.tokens());  // one for each token; that of padding is not used
      cheapest_E.setZero(experts);
    }

    /// The price of the expert's cheapest place rises by `more`, and the bidder gets the place; returns who had it
    /// before.
    Index sell(Index expert, Index bidder, S more) {
      Index *begin = order + first[expert], *end = order + first[expert + 1];
      const auto dearer = [this](Index a, Index b) { return price(a) != price(b) ? price(a) > price(b) : a > b; };
      const Index place = *begin;
      std::pop_heap(begin, end, dearer);
      price(place) += more;
      std::push_heap(begin, end, dearer);
      cheapest_E(expert) = price(*begin);
      return std::exchange(owner[place], bidder);
    }
  };

  /// Changes the expert of each choice; there is one choice for each token. A token bids for the cheapest place of the
  /// expert with the largest difference of logit and price. It raises the price by as much as this difference exceeds
  /// that of the second best expert.
  template <class S>
  void auction(Routing<S>& routing) const {
    routing.selects_largest_logits = false;
    const auto count = static_cast<Index>(routing.choices.size());
    const Matrix<S>& logits_TE = routing.selection_logits_TE();
    const auto [lowest, highest] = finite_range(routing);
    // The step is larger than the rounding of the largest logit: prices must rise, or the auction would never end.
    const S rounding = 8 * std::numeric_limits<S>::epsilon() * (std::max)(std::abs(lowest), std::abs(highest));
    const S step = (std::max)({S(1e-4), static_cast<S>(step_share) * (highest - lowest), rounding});
    Places<S> places(routing, count);
    Index waiting = count;
    for (Index i = 0; i < count; ++i) places.waiting[i] = count - 1 - i;  // the first token bids first
    while (waiting > 0) {
      const Index bidder = places.waiting[--waiting];
      Choice<S>& choice = routing.choices[static_cast<std::size_t>(bidder)];
      Index best = -1, second = -1;
      S best_gain = 0, second_gain = 0;
      for (Index e = 0; e < routing.experts() && places.first[e] < places.first[e + 1]; ++e) {
        const S logit =
            logits_TE(choice.token, e);  // as in fairseq, a logit that is not finite counts as the smallest finite one
        const S gain = (detail::has_finite_bits(logit) ? logit : lowest) - places.cheapest_E(e);
        if (best < 0 || gain > best_gain) {
          second = best, second_gain = best_gain;
          best = e, best_gain = gain;
        } else if (second < 0 || gain > second_gain) {
          second = e, second_gain = gain;
        }
      }
      choice.expert = best;
      const Index loser = places.sell(best, bidder, (second >= 0 ? best_gain - second_gain : S(0)) + step);
      if (loser >= 0) places.waiting[waiting++] = loser;
    }
  }

  /// The smallest and the largest finite logit of the tokens; 0 if there is none.
  template <class S>
  static std::pair<S, S> finite_range(const Routing<S>& routing) {
    S lowest = 0, highest = 0;
    bool first = true;
    for (const Choice<S>& c : routing.choices)
      for (Index e = 0; e < routing.experts(); ++e) {
        const S logit = routing.selection_logits_TE()(c.token, e);
        if (!detail::has_finite_bits(logit)) continue;
        lowest = first ? logit : (std::min)(lowest, logit);
        highest = first ? logit : (std::max)(highest, logit);
        first = false;
      }
    return {lowest, highest};
  }
};

MOE_NAMESPACE_END
