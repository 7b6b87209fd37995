// DeepSpeed: weights are divided by their sum after dropping, and which tokens are dropped is a policy.
#include <string>
#include <utility>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/gumbel_noise.hpp"
#include "moe/gating/prioritized.hpp"
#include "moe/loss/load_balance.hpp"

namespace deepspeed_test {

using namespace golden;
using moe::LoadBalanceLoss;

/// Slots lie in order of tokens there, in order of priority here: they are not compared.
template <class G>
void expect_fixture(const std::string& name, const G& gate, Random draws, bool renormalize,
                    LoadBalanceLoss::Count count) {
  Fixture fixture(name);
  using X = moe::Mlp<double, moe::Gelu>;
  moe::DispatchOptions dispatching =
      moe::Capacity::deepspeed(fixture.number("capacity_factor"), fixture.size("min_capacity"));
  dispatching.renormalize_kept = renormalize;
  const Layer layer{router_of<double>(fixture), gate, experts_of<X>(fixture), Losses{}, dispatching};
  const typename decltype(layer)::Tape undrawn(std::move(draws));
  auto tape = undrawn;
  const Matrix<double> x = fixture.matrix<double>("x");
  Values values = task_values(layer, x, fixture.matrix<double>("dy"), tape);
  values.erase("slot");
  fixture.expect(values);
  fixture.expect(loss_values("aux.balance", layer, x, undrawn, LoadBalanceLoss{.coefficient = 1, .count = count}));
  fixture.finish(fixture.left_but({"noise.uniform", "noise.gumbel"}));  // the draws were read by the caller
}

constexpr TopK top(Index k) { return {.k = k, .weights = ChoiceWeights::probabilities()}; }
constexpr auto first = LoadBalanceLoss::Count::first_choices, share = LoadBalanceLoss::Count::all_choices_share;

TEST(DeepSpeed, TopOneWithRandomTokenSelection) {
  Fixture file("deepspeed_top1_rts_overflow");
  expect_fixture("deepspeed_top1_rts_overflow", moe::Prioritized{top(1), moe::Priority::random},
                 Random::recorded(file.values<double>("noise.uniform")), false, first);
}

TEST(DeepSpeed, TopOneSampledByGumbelNoise) {
  Fixture file("deepspeed_top1_rsample");
  auto draws = file.values<double>("noise.gumbel");
  const auto order = file.values<double>("noise.uniform");
  draws.insert(draws.end(), order.begin(), order.end());
  expect_fixture("deepspeed_top1_rsample", moe::Prioritized{moe::GumbelNoise<TopK>{top(1)}, moe::Priority::random},
                 Random::recorded(draws), false, first);
}

TEST(DeepSpeed, TopTwo) {
  expect_fixture("deepspeed_top2_det", top(2), Random(1), true, first);
  expect_fixture("deepspeed_top2_ties", top(2), Random(1), true, first);
}

TEST(DeepSpeed, TopTwoWithSampledSecond) {
  Fixture file("deepspeed_top2_sampling");
  expect_fixture("deepspeed_top2_sampling", moe::GumbelNoise<TopK>{top(2), true},
                 Random::recorded(file.values<double>("noise.gumbel")), true, first);
}

TEST(DeepSpeed, TopKByPosition) {
  expect_fixture("deepspeed_topk_position", moe::Prioritized{top(3), moe::Priority::token}, Random(1), true, share);
}

TEST(DeepSpeed, TopKByLogitAgainstZero) {
  const moe::Capacity capacity = moe::Capacity::deepspeed(0.7, 1);
  expect_fixture("deepspeed_topk_probs", moe::Prioritized<TopK>{top(2), moe::Priority::logit_against_zero, capacity},
                 Random(1), true, share);
}

}  // namespace deepspeed_test
