// The mixture-of-experts layer of the examples, its gate and losses chosen when the program runs.
#pragma once

#include <vector>

#include "moe/moe.hpp"

namespace example {

using moe::Index;

template <class S>
using AnyGate =
    moe::VariantGate<S, moe::TopK, moe::OptionalChoices, moe::NoisyTopK<S>, moe::ExpertChoice, moe::Hash,
                     moe::ScoredTopK, moe::Prioritized<moe::TopK>, moe::NoTokenLeftBehind, moe::FixedNoise<moe::TopK>>;

/// A coefficient of 0 switches a loss off.
using RoutingLosses = moe::Losses<moe::ImportanceLoss, moe::LoadLoss, moe::LoadBalanceLoss, moe::RouterZLoss>;

template <class S, class X = moe::Mlp<S, moe::Relu>>
using MoeLayer = moe::Layer<moe::Router<S>, AnyGate<S>, X, RoutingLosses>;

struct LossCoefficients {
  double importance = 0, load = 0, load_balance = 0, router_z = 0;

  RoutingLosses losses() const {
    return {moe::ImportanceLoss{.coefficient = importance}, moe::LoadLoss{.coefficient = load},
            moe::LoadBalanceLoss{.coefficient = load_balance}, moe::RouterZLoss{.coefficient = router_z}};
  }
};

/// A feed-forward network as a layer: its one expert takes every token, with weight 1.
template <class S, class X = moe::Mlp<S, moe::Relu>>
MoeLayer<S, X> dense_layer(Index width, Index hidden, moe::Random& random) {
  return {moe::Router<S>::zeros(1, width), moe::switch_top1(), moe::make_experts<X>(1, width, hidden, random),
          LossCoefficients{}.losses()};
}

}  // namespace example
