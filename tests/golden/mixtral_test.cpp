// Softmax over all experts, top-k, with and without division by the kept sum: Mixtral, Qwen3-MoE, OLMoE.
#include <cstdint>
#include <string>
#include <vector>

#include "golden.hpp"
#include "moe/expert/glu.hpp"
#include "moe/loss/load_balance.hpp"

namespace mixtral_test {

using namespace golden;
using moe::LoadBalanceLoss;

const LoadBalanceLoss balance{.coefficient = 1, .count = LoadBalanceLoss::Count::all_choices};

template <class S>
void expect_fixture(const std::string& name, ChoiceWeights weights) {
  Fixture fixture(name);
  const Layer layer{router_of<S>(fixture), TopK{.k = fixture.size("k"), .weights = weights.allowing_constant()},
                    experts_of<moe::SwiGlu<S>>(fixture)};
  typename decltype(layer)::Tape tape;
  const Matrix<S> x = fixture.matrix<S>("x");
  fixture.expect(task_values(layer, x, fixture.matrix<S>("dy"), tape));
  fixture.expect(loss_values("aux.balance", layer, x, tape, balance));
  fixture.finish();
}

class Renormalized : public testing::TestWithParam<const char*> {};

TEST_P(Renormalized, DividingByTheKeptSum) { expect_fixture<double>(GetParam(), ChoiceWeights::renormalized()); }

TEST_P(Renormalized, SoftmaxOfTheChosen) { expect_fixture<double>(GetParam(), ChoiceWeights::softmax_of_chosen()); }

INSTANTIATE_TEST_SUITE_P(Mixtral, Renormalized,
                         testing::Values("mixtral_top2_basic", "mixtral_E1", "mixtral_all_to_one",
                                         "mixtral_empty_expert", "mixtral_k_equals_E", "mixtral_logits80",
                                         "qwen3_moe_norm"));

TEST(Mixtral, SinglePrecision) {
  expect_fixture<float>("f32_mixtral_top2", ChoiceWeights::renormalized());
  expect_fixture<float>("f32_mixtral_top2", ChoiceWeights::softmax_of_chosen());
}

TEST(Mixtral, WithoutRenormalization) { expect_fixture<double>("olmoe_nonorm", ChoiceWeights::probabilities()); }

// Renormalised, the weight of one choice is always 1. The gate refuses that unless it is meant.
TEST(Mixtral, OneChoice) {
  for (const auto& weights :
       {ChoiceWeights::renormalized(), ChoiceWeights::softmax_of_chosen(), ChoiceWeights::uniform()})
    expect_fixture<double>("mixtral_top1_T1", weights);
}

TEST(Mixtral, JitterOfTheWholeBlocksInput) {
  Fixture fixture("mixtral_jitter_train");
  const double jitter = fixture.number("jitter_eps");
  const Matrix<double> factor = (1 - jitter + 2 * jitter * fixture.matrix<double>("noise.uniform").array()).matrix();
  const Matrix<double> x = fixture.matrix<double>("x").cwiseProduct(factor);
  fixture.expect("x.jittered", flat(x));

  const Layer layer{router_of<double>(fixture), TopK{.k = fixture.size("k"), .weights = ChoiceWeights::renormalized()},
                    experts_of<moe::SwiGlu<double>>(fixture)};
  decltype(layer)::Tape tape;
  Values values = task_values(layer, x, fixture.matrix<double>("dy"), tape);
  values.merge(loss_values("aux.balance", layer, x, tape, balance));
  for (const char* dx : {"grad.x", "aux.balance.grad.x"})
    for (Index i = 0; i < factor.size(); ++i) values.at(dx)[at(i)] *= factor.data()[i];
  fixture.expect(values);
  fixture.finish();
}

// The logits of several layers one after the other, all under one padding mask.
TEST(Mixtral, BalanceWithPadding) {
  Fixture fixture("mixtral_balance_masked");
  const auto mask = fixture.values<std::uint8_t>("attention_mask");
  std::vector<std::uint8_t> valid;
  for (Index layer = 0; layer < fixture.size("L"); ++layer) valid.insert(valid.end(), mask.begin(), mask.end());
  const Matrix<double> logits = fixture.matrix<double>("logits");
  Batch<double> batch = logits;
  batch.valid = valid;
  const auto layer = logits_layer(fixture.size("E"), TopK{.k = fixture.size("k")});
  fixture.expect(loss_values("aux.balance", layer, batch, {}, balance));
  fixture.finish();
}

}  // namespace mixtral_test
