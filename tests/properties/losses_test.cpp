// Properties of the auxiliary losses.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

#include "draws.hpp"
#include "support/reference_moe.hpp"

namespace properties {
namespace losses_test {

using Count = moe::LoadBalanceLoss::Count;
using Source = moe::ImportanceLoss::Source;
using Threshold = moe::LoadLoss::Threshold;

template <class Layer, class L>
double value(const Layer& layer, const L& loss, const Matrix& x_TD, std::optional<std::uint64_t> seed = {}) {
  using Tape = typename Layer::Tape;
  Tape tape = seed ? Tape(*seed) : Tape();
  layer.forward(x_TD, tape);
  return loss.value(tape.routing);
}

RC_GTEST_PROP(Losses, AConstantAddedToAllLogitsChangesTheZLossAlone, ()) {
  Sizes sizes = draw_sizes(1);
  const auto gate = support::random_noisy_gate(sizes.experts, sizes.width, sizes.top_k, sizes.rng);
  const moe::Layer layer{random_router(sizes), gate, random_experts(sizes)};
  const double shift = *rc::gen::element(-3.0, 0.5, 20.0);
  auto shifted = layer;
  shifted.router.bias_E.array() += shift;
  const Matrix x_TD = random_tokens(sizes);
  using Tape = typename std::remove_const_t<decltype(layer)>::Tape;
  Tape tape(std::uint64_t{4}), other(std::uint64_t{4});
  RC_ASSERT(is_close(shifted.forward(x_TD, other), layer.forward(x_TD, tape), 1e-11));
  const auto unchanged = [&](const auto& loss) {
    return is_close(loss.value(other.routing), loss.value(tape.routing), 1e-10);
  };
  for (const auto source : {Source::weights, Source::clean_probabilities})
    RC_ASSERT(unchanged(moe::ImportanceLoss{.source = source}));
  for (const auto threshold : {Threshold::excluding_itself, Threshold::kth_largest})
    RC_ASSERT(unchanged(moe::LoadLoss{.threshold = threshold}));
  for (const auto count : {Count::first_choices, Count::all_choices, Count::all_choices_share})
    RC_ASSERT(unchanged(moe::LoadBalanceLoss{.count = count}));

  double expected = 0;
  for (Index t = 0; t < sizes.tokens; ++t) {
    const double log_sum = std::log(tape.routing.logits_TE.row(t).array().exp().sum());
    expected += (log_sum + shift) * (log_sum + shift) / static_cast<double>(sizes.tokens);
  }
  RC_ASSERT(is_close(moe::RouterZLoss{}.value(other.routing), expected, 1e-11));
}

/// Constant logits: the z-loss is (log E)^2 at 0, and 0 at -log E.
RC_GTEST_PROP(Losses, ZLossOfConstantLogits, ()) {
  Sizes sizes = draw_sizes(1);
  auto layer = top_k_layer(sizes);
  layer.router.weight_ED.setZero();
  layer.router.bias_E.setZero();
  const double log_experts = std::log(static_cast<double>(sizes.experts));
  const Matrix x_TD = random_tokens(sizes);
  RC_ASSERT(is_close(value(layer, moe::RouterZLoss{}, x_TD), log_experts * log_experts));
  layer.router.bias_E.setConstant(-log_experts);
  RC_ASSERT(is_close(value(layer, moe::RouterZLoss{}, x_TD), 0.0));
}

RC_GTEST_PROP(Losses, OneExpertIsBalanced, ()) {
  Sizes sizes = draw_sizes(1);
  sizes.experts = 1;
  const moe::Layer layer{random_router(sizes), moe::TopK{.k = 1}, random_experts(sizes)};
  const Matrix x_TD = random_tokens(sizes);
  for (const auto variance : {moe::Variance::population, moe::Variance::unbiased}) {
    RC_ASSERT(value(layer, moe::ImportanceLoss{.variance = variance}, x_TD) == 0);
    RC_ASSERT(value(layer, moe::LoadLoss{.variance = variance}, x_TD) == 0);
  }
  for (const auto count : {Count::first_choices, Count::all_choices, Count::all_choices_share})
    RC_ASSERT(std::abs(value(layer, moe::LoadBalanceLoss{.count = count}, x_TD) - 1) < 1e-14);
}

/// Token t ranks the experts t, t + 1, ... (mod E): every expert is each one's first, second, ... equally often.
RC_GTEST_PROP(Losses, BalancedRouting, ()) {
  Sizes sizes = draw_sizes(0, 2);
  const Index experts = sizes.experts, rounds = *rc::gen::inRange<Index>(1, 4);
  Matrix x_TE(rounds * experts, experts);  // the logits are the tokens
  for (Index t = 0; t < x_TE.rows(); ++t)
    for (Index e = 0; e < experts; ++e) x_TE(t, e) = -0.3 * static_cast<double>((e - t % experts + experts) % experts);
  sizes.width = experts;
  const moe::Layer layer{moe::Router<double>{Matrix::Identity(experts, experts)}, sizes.top_k, random_experts(sizes)};
  const auto k = static_cast<double>(sizes.k);
  RC_ASSERT(is_close(value(layer, moe::LoadBalanceLoss{.count = Count::first_choices}, x_TE), 1.0));
  RC_ASSERT(is_close(value(layer, moe::LoadBalanceLoss{.count = Count::all_choices}, x_TE), k));
  RC_ASSERT(is_close(value(layer, moe::LoadBalanceLoss{.count = Count::all_choices_share}, x_TE), 1.0));
  RC_ASSERT(is_close(value(layer, moe::ImportanceLoss{}, x_TE), 0.0));
  RC_ASSERT(value(layer, moe::LoadLoss{}, x_TE) == 0);
}

/// The load loss's P(x, e) is the frequency with which noise chooses e: over many tokens that are alike, the number of
/// times that e was chosen lies within three standard deviations of the sum of P.
TEST(Losses, ChanceIsTheFrequencyOfSelection) {
  constexpr Index tokens = 5000, experts = 5, width = 3;
  for (const Index k : {1, 2, 4}) {
    std::mt19937_64 rng(5);
    const auto gate =
        support::random_noisy_gate(experts, width, {.k = k, .weights = moe::ChoiceWeights::uniform()}, rng);
    const moe::Layer layer{support::random_router(experts, width, rng), gate,
                           support::random_experts<moe::Linear<double>>(experts, width, width, rng)};
    const Matrix x_TD = support::random_matrix(1, width, rng).replicate(tokens, 1);
    typename std::remove_const_t<decltype(layer)>::Tape tape(6);
    layer.forward(x_TD, tape);
    moe::Random random(6);
    const reference::Result decided = reference::forward(layer, x_TD, {}, &random);
    const moe::LoadLoss loss;
    const double expected = reference::loss(loss, decided);  // the chances below are those of the library's loss
    EXPECT_NEAR(loss.value(tape.routing), expected, 1e-9 * expected);
    for (Index e = 0; e < experts; ++e) {
      double chances = 0, variance = 0;
      for (Index t = 0; t < tokens; ++t) {
        const double chance = reference::chance(loss, decided, t, e);
        chances += chance, variance += chance * (1 - chance);
      }
      const auto count = static_cast<double>(tape.plan.chosen[static_cast<std::size_t>(e)]);
      EXPECT_NEAR(count, chances, 3 * std::sqrt(variance)) << "expert " << e << ", k " << k;
    }
  }
}

}  // namespace losses_test
}  // namespace properties
