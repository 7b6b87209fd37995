// The mixture-of-experts layer of the examples, its gate and losses chosen when the program runs.
#pragma once

#include <string_view>
#include <vector>

#include "moe/moe.hpp"

namespace example {

using moe::Index;

template <class S>
using AnyGate =
    moe::VariantGate<S, moe::TopK, moe::OptionalChoices, moe::NoisyTopK<S>, moe::ExpertChoice, moe::Hash,
                     moe::ScoredTopK, moe::Prioritized<moe::TopK>, moe::NoTokenLeftBehind, moe::FixedNoise<moe::TopK>>;

/// As many entropy losses as there are modalities, say, each with its own coefficient; none by default.
struct EntropyLosses {
  double coefficient = 1;
  std::vector<moe::EntropyLoss> all = {};

  static constexpr std::string_view name() { return "entropies"; }

  template <class S>
  S value(const moe::Routing<S>& routing) const {
    S sum = 0;
    for (const moe::EntropyLoss& loss : all) sum += static_cast<S>(loss.coefficient) * loss.value(routing);
    return sum;
  }

  template <class S>
  void backward(const moe::Routing<S>& routing, S scale, moe::Routing<S>& drouting) const {
    for (const moe::EntropyLoss& loss : all) loss.backward(routing, scale * static_cast<S>(loss.coefficient), drouting);
  }
};

/// A coefficient of 0 switches a loss off.
using RoutingLosses =
    moe::Losses<moe::ImportanceLoss, moe::LoadLoss, moe::LoadBalanceLoss, moe::RouterZLoss, EntropyLosses>;

template <class S, class X = moe::Mlp<S, moe::Relu>>
using MoeLayer = moe::Layer<moe::Router<S>, AnyGate<S>, X, RoutingLosses>;

struct LossCoefficients {
  double importance = 0, load = 0, load_balance = 0, router_z = 0;

  RoutingLosses losses() const {
    return {moe::ImportanceLoss{.coefficient = importance}, moe::LoadLoss{.coefficient = load},
            moe::LoadBalanceLoss{.coefficient = load_balance}, moe::RouterZLoss{.coefficient = router_z},
            EntropyLosses{}};
  }
};

/// A feed-forward network as a layer: its one expert takes every token, with weight 1.
template <class S, class X = moe::Mlp<S, moe::Relu>>
MoeLayer<S, X> dense_layer(Index width, Index hidden, moe::Random& random) {
  return {moe::Router<S>::zeros(1, width), moe::switch_top1(), moe::make_experts<X>(1, width, hidden, random),
          LossCoefficients{}.losses()};
}

}  // namespace example
