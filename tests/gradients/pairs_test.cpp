// Every gate with every loss that is defined for it: the backward pass against differences. Gates and losses are
// variants here, so that all pairs are one type of layer.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"

namespace pairs_test {

using namespace moe;

constexpr Index width = 5, experts = 4, tokens = 12;

struct AnyLoss {
  using One = std::variant<ImportanceLoss, LoadLoss, LoadBalanceLoss, SecondChoiceLoss, DeviceBalanceLoss, RouterZLoss,
                           EntropyLoss, GateLabelLoss, TokenBalanceLoss, ScoreVarianceLoss>;
  One one;
  double coefficient = 1;

  std::string_view name() const {
    return std::visit([](const auto& loss) { return loss.name(); }, one);
  }
  template <class S>
  S value(const Routing<S>& routing) const {
    return std::visit([&](const auto& loss) { return loss.value(routing); }, one);
  }
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    std::visit([&](const auto& loss) { loss.backward(routing, scale, drouting); }, one);
  }
};

struct AnyGate {
  using One = std::variant<Softmax, TopK, ScoredTopK, OptionalChoices, NoTokenLeftBehind, VariableTopK, TopP, Threshold,
                           ReluRouting, Hash, ExpertChoice, Sinkhorn, BaseAssignment, SparseMixer, Replay<double>,
                           FixedNoise<TopK>, FixedNoise<ScoredTopK>, GumbelNoise<TopK>, Prioritized<TopK>,
                           Prioritized<SparseMixer>>;
  One one;

  void check(Index count) const {
    std::visit(
        [count](const auto& gate) {
          if constexpr (requires { gate.check(count); }) gate.check(count);
        },
        one);
  }
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    if constexpr (std::is_same_v<S, double>)
      std::visit([&](const auto& gate) { gate.route(batch, routing, random); }, one);
  }
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    if constexpr (std::is_same_v<S, double>)
      std::visit([&](const auto& gate) { gate.backward(routing, drouting); }, one);
  }
};

std::vector<AnyLoss::One> losses_of_any_gate() {
  using Kind = EntropyLoss::Kind;
  using Count = LoadBalanceLoss::Count;
  const auto scope = LoadBalanceLoss::Scope::sequence;
  const std::vector<Index> labels{0, 1, 2, 3, -1, 0, 1, 2, 3, 0, 1, -1};
  const std::vector<std::int8_t> modalities{0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1};
  return {ImportanceLoss{},
          ImportanceLoss{
              .source = ImportanceLoss::Source::clean_probabilities, .variance = Variance::unbiased, .epsilon = 0},
          LoadBalanceLoss{.count = Count::all_choices},
          LoadBalanceLoss{.count = Count::all_choices_share, .scope = scope},
          DeviceBalanceLoss{.devices = 2},
          DeviceBalanceLoss{.devices = 2, .kind = DeviceBalanceLoss::Kind::communication},
          RouterZLoss{},
          EntropyLoss{},
          EntropyLoss{.kind = Kind::local, .modality = 1, .modality_of_token = modalities},
          EntropyLoss{.kind = Kind::global},
          EntropyLoss{.kind = Kind::global, .threshold = 1.38, .modality = 0, .modality_of_token = modalities},
          EntropyLoss{.kind = Kind::mutual_information},
          GateLabelLoss{.label_of_token = labels}};
}

/// Of gates whose ranks are a token's first, second, ... choice.
std::vector<AnyLoss::One> losses_of_ranks() {
  using Count = LoadBalanceLoss::Count;
  std::vector<AnyLoss::One> losses{SecondChoiceLoss{}, SecondChoiceLoss{.epsilon = 0.3}};
  for (const auto count : {Count::first_choices, Count::kept_first_choices, Count::kept_first_choices_share,
                           Count::dropped_to_first_expert})
    losses.push_back(LoadBalanceLoss{.count = count});
  return losses;
}

/// Of gates that choose k experts for each token.
std::vector<AnyLoss::One> losses_of_fixed_k() {
  return {LoadLoss{}, LoadLoss{.threshold = LoadLoss::Threshold::kth_largest, .variance = Variance::unbiased},
          LoadBalanceLoss{.count = LoadBalanceLoss::Count::plain_top_k_share}};
}

class Pairs : public ::testing::Test {
 protected:
  std::mt19937_64 rng{7};
  Matrix<double> x_TD = random_matrix<double>(tokens, width, rng);
  std::vector<Linear<double>> some_experts = make_experts<Linear<double>>(experts, width, width, rng);
  Router<double> router = biased_router();
  TopK top2{.k = 2, .weights = ChoiceWeights::probabilities()};
  Capacity tight = Capacity::factor(0.7);

  Router<double> biased_router() {
    auto r = Router<double>::random(experts, width, rng);
    r.bias_E = random_matrix<double>(experts, 1, rng);
    return r;
  }

  template <class G>
  void expect_exact(const G& gate, const std::vector<AnyLoss::One>& losses, bool training) {
    const std::vector<std::uint8_t> valid{1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1};
    std::vector<std::int64_t> ids;
    for (Index t = 0; t < tokens; ++t) ids.push_back(t % 5);
    for (const AnyLoss::One& loss : losses) {
      const Layer layer{router, gate, some_experts, Losses{AnyLoss{loss}}, tight};
      Batch<double> batch(x_TD);
      batch.ids = ids, batch.valid = valid, batch.group_size = 6;
      moe::testing::GradientOptions options = support::gradient_options({.entries = 25});
      if (training) options.tape_seed = 5;
      EXPECT_TRUE(moe::testing::check_layer_gradients(layer, batch, options))
          << AnyLoss{loss}.name() << " number " << &loss - losses.data();
    }
  }

  void expect_exact(const std::vector<AnyGate::One>& gates, const std::vector<AnyLoss::One>& losses,
                    bool training = true) {
    for (const AnyGate::One& gate : gates) {
      SCOPED_TRACE("gate " + std::to_string(&gate - gates.data()));
      expect_exact(AnyGate{gate}, losses, training);
    }
  }
};

TEST_F(Pairs, OfFixedK) {
  const Index e = experts;
  Hash hash = Hash::random(5, e, rng);
  hash.tables.push_back(Hash::random(5, e, rng).tables[0]);
  hash.weights = Scores::sqrt_softplus();
  const std::vector<AnyGate::One> gates{Softmax{},
                                        TopK{.k = 3},
                                        switch_top1(),
                                        ScoredTopK{.k = 2, .groups = 2, .groups_used = 1},
                                        ScoredTopK{.k = 2, .groups = 2, .groups_used = 2, .from_each_group = true},
                                        ScoredTopK{.k = 1, .scores = Scores::sqrt_softplus({.normalize = false})},
                                        gshard_top2(),
                                        st_moe_top_n(3),
                                        NoTokenLeftBehind{.top_k = top2, .capacity = tight},
                                        hash,
                                        Sinkhorn{.k = 2},
                                        BaseAssignment{},
                                        SparseMixer{.k = 2, .band = 0.4, .midpoint = 1},
                                        FixedNoise<TopK>{top2, 2},
                                        FixedNoise<ScoredTopK>{ScoredTopK{.k = 2}, 2},
                                        GumbelNoise<TopK>{top2},
                                        Prioritized<TopK>{top2, Priority::weight}};
  expect_exact(gates, losses_of_any_gate());
  expect_exact(gates, losses_of_ranks());
  expect_exact(
      {TopK{.k = 3}, switch_top1(), FixedNoise<TopK>{TopK{.k = 2}, 2}, SparseMixer{.band = 0.4, .midpoint = 1}},
      losses_of_fixed_k());
  expect_exact({SparseMixer{.band = 0.4}, SparseMixer{.k = 4}}, losses_of_any_gate(), false);
}

/// A gate's backward pass must not read who chose what from the order of the choices.
TEST_F(Pairs, OfSparseMixerInOtherOrders) {
  const SparseMixer gate{.k = 3, .band = 0.4, .midpoint = 1};
  for (const bool training : {true, false})
    expect_exact({Prioritized<SparseMixer>{gate, Priority::token}, Prioritized<SparseMixer>{gate, Priority::weight}},
                 losses_of_any_gate(), training);
}

TEST_F(Pairs, OfVaryingK) {
  const std::vector<Index> k_T{2, 0, 1, 4, 3, 1, 2, 2, 0, 4, 1, 3};
  Replay<double> replay{.weights = ChoiceWeights::softmax_of_chosen()};
  for (Index t : {0, 1, 3, 4, 5, 7, 8})
    for (Index rank = 0; rank < 1 + t % 3; ++rank)
      replay.choices.push_back({t, (t + rank) % 4, 0, static_cast<int>(rank)});
  const std::vector<AnyGate::One> gates{
      VariableTopK{.k_T = k_T, .weights = ChoiceWeights::renormalized({.epsilon = 0.1})}, TopP{.p = 0.7}, Threshold{},
      ReluRouting{}, replay};
  expect_exact(gates, losses_of_any_gate());
  expect_exact(gates, losses_of_ranks());
}

TEST_F(Pairs, OfExpertChoice) {
  auto losses = losses_of_any_gate();
  losses.push_back(TokenBalanceLoss{});
  losses.push_back(ScoreVarianceLoss{});
  const ExpertChoice of_tokens{.softmax_axis = ExpertChoice::Axis::tokens, .average = true};
  expect_exact({ExpertChoice{}, of_tokens}, losses);
}

TEST_F(Pairs, OfLearnedNoise) {
  auto noisy = NoisyTopK<double>::zeros(experts, width, {.k = 2});
  noisy.noise_weight_ED = random_matrix<double>(experts, width, rng);
  for (const auto& losses : {losses_of_any_gate(), losses_of_ranks(), losses_of_fixed_k()}) {
    expect_exact(noisy, losses, true);
    expect_exact(noisy, losses, false);
  }
}

}  // namespace pairs_test
