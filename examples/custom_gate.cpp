// A gate of your own is a plain struct, too: `route` turns the router's logits into choices, `backward` turns the
// gradients of their weights into those of the logits. One call checks it inside a layer.
#include <cmath>
#include <iostream>
#include <random>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"

/// Every expert scores a token by itself, with sigmoid(logit), and takes part if the score is high enough: as many
/// experts for a token as it needs, perhaps none.
struct HighScores {
  double lowest_score = .5;

  bool choices_differ() const { return true; }  // in number, from token to token

  template <class S>
  void route(const moe::Batch<S>&, moe::Routing<S>& routing, moe::Random*) const {
    // With a gate of noise around this one there are two kinds of logits: those that decide, and those that weigh.
    routing.probabilities_TE = (1 + (-routing.weighing_logits_TE().array()).exp()).inverse();
    routing.selects_largest_logits = false;  // the choices are not the k largest logits
    const S lowest_logit = static_cast<S>(-std::log(1 / lowest_score - 1));
    for (moe::Index t = 0; t < routing.tokens(); ++t)
      for (moe::Index e = 0; e < routing.experts(); ++e)
        if (routing.is_valid(t) && routing.selection_logits_TE()(t, e) >= lowest_logit) {
          const auto better =
              (routing.selection_logits_TE().row(t).array() > routing.selection_logits_TE()(t, e)).count();
          routing.choices.push_back({.token = t,
                                     .expert = e,
                                     .weight = routing.probabilities_TE(t, e),
                                     .rank = static_cast<int>(better)});  // 0: the token's first choice
        }
  }

  template <class S>
  void backward(const moe::Routing<S>& routing, moe::Routing<S>& drouting) const {
    for (const auto& choice : drouting.choices) drouting.probabilities_TE(choice.token, choice.expert) += choice.weight;
    const auto score = routing.probabilities_TE.array();
    drouting.weighing_logits_TE().array() += drouting.probabilities_TE.array() * score * (1 - score);
  }
};

static_assert(moe::TrainableGate<HighScores, float>);

int main() {
  const moe::Index experts = 4, width = 8, hidden = 16, tokens = 64;
  std::mt19937_64 rng{1};
  moe::Layer layer{moe::Router<double>::random(experts, width, rng), HighScores{.lowest_score = .6},
                   moe::make_experts<moe::SwiGlu<double>>(experts, width, hidden, rng)};

  moe::Random random{1};
  const moe::Matrix<double> x = moe::Matrix<double>::NullaryExpr(tokens, width, [&] { return random.normal(); });
  const auto report = moe::testing::check_layer_gradients(layer, x);
  std::cout << report << '\n';

  decltype(layer)::Tape tape;
  const moe::Matrix<double> y = layer.forward(x, tape);
  std::cout << static_cast<double>(tape.plan.slots()) / static_cast<double>(tokens) << " experts a token; "
            << moe::load_of(tape.plan) << '\n';
  return report && y.allFinite() ? 0 : 1;
}
