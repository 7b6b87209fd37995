#include "moe/surgery/expert_rows.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <random>
#include <tuple>
#include <vector>

#include "moe/surgery/permute_experts.hpp"
#include "moe/surgery/split_expert.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace expert_rows_test {

using support::expect_invalid;
using support::same_bits;

template <class Part>
Part rearranged(Part part, const ExpertSources& sources) {
  detail::ExpertRows<Part>::rearrange(part, sources);
  return part;
}

/// Old 1, a newcomer, and the mean of 0 and 1.
const ExpertSources mixed{2, {{{1}}, {}, {{0, 0.5}, {1, 0.5}}}};

TEST(ExpertRows, ARouterHasRowsAndBiases) {
  const Router<double> router{.weight_ED = Matrix<double>{{1, 2}, {3, 4}}, .bias_E = Vector<double>{{5, 7}}};
  const auto result = rearranged(router, mixed);
  EXPECT_EQ(result.weight_ED, (Matrix<double>{{3, 4}, {0, 0}, {2, 3}}));
  EXPECT_EQ(result.bias_E, (Vector<double>{{7, 0, 6}}));
  EXPECT_EQ(rearranged(Router<double>{.weight_ED = router.weight_ED}, mixed).bias_E.size(), 0);
  const ExpertSources sum{2, {{{0, 0.5}, {1}}}};  // a whole share is added as any other
  EXPECT_EQ(rearranged(router, sum).weight_ED, (Matrix<double>{{3.5, 5}}));
}

TEST(ExpertRows, ACosineRouterHasDirections) {
  std::mt19937_64 rng(1);
  const auto router = CosineRouter<double>::random(2, 2, 2, rng);  // the projection has 2 rows, too
  const auto result = rearranged(router, ExpertSources::copies(2, {1, 0, 1}));
  EXPECT_TRUE(same_bits(result.projection_PD, router.projection_PD));
  EXPECT_EQ(result.expert_EP.rows(), 3);
  EXPECT_EQ(result.expert_EP.row(2), router.expert_EP.row(1));
}

TEST(ExpertRows, NoRouterHasANumber) { EXPECT_EQ(rearranged(NoRouter<double>{2}, mixed).expert_count, 3); }

TEST(ExpertRows, LearnedNoiseHasWeightsAndAGate) {
  LearnedNoise<double, ScoredTopK> gate{.gate = {.selection_bias_E = Vector<double>{{8, 9}}},
                                        .noise_weight_ED = Matrix<double>{{1, 2}, {3, 4}}};
  const auto result = rearranged(gate, mixed);
  EXPECT_EQ(result.noise_weight_ED, (Matrix<double>{{3, 4}, {0, 0}, {2, 3}}));
  EXPECT_EQ(result.gate.selection_bias_E, (Vector<double>{{9, 0, 8.5}}));
}

TEST(ExpertRows, AGateAroundAGateHandsOn) {
  const ScoredTopK inner{.selection_bias_E = Vector<double>{{8, 9}}};
  EXPECT_EQ(rearranged(FixedNoise{inner, 1.0}, mixed).gate.selection_bias_E.size(), 3);
  EXPECT_EQ(rearranged(GumbelNoise<ScoredTopK>{inner}, mixed).gate.selection_bias_E.size(), 3);
  EXPECT_EQ(rearranged(Prioritized{inner, Priority::weight}, mixed).gate.selection_bias_E.size(), 3);
}

TEST(ExpertRows, AHashTableFollowsItsExperts) {
  const Hash hash{{{0, 1, 2, 1, 1, 2}}};
  EXPECT_EQ(rearranged(hash, ExpertSources::copies(3, {2, 1, 0})).tables[0], (std::vector<Index>{2, 1, 0, 1, 1, 0}));
  // 1 is split: every other of its ids goes to the clone. 2 is removed: its ids are dealt to all.
  EXPECT_EQ(rearranged(hash, ExpertSources::copies(3, {0, 1, 2, 1})).tables[0], (std::vector<Index>{0, 1, 2, 3, 1, 2}));
  EXPECT_EQ(rearranged(hash, ExpertSources::copies(3, {1, 0})).tables[0], (std::vector<Index>{1, 0, 0, 0, 0, 1}));
}

TEST(ExpertRows, ARecordFollowsItsExperts) {
  const Replay<double> replay{{{0, 0, 0.5}, {1, 1, 0.5}, {2, 2, 0.5}}};
  const auto result = rearranged(replay, ExpertSources::copies(3, {1, 0})).choices;
  ASSERT_EQ(result.size(), 2u);  // the choice of 2 is lost
  EXPECT_EQ(result[0].expert, 1);
  EXPECT_EQ(result[1].expert, 0);
}

TEST(ExpertRows, SplitByHashOrRecordComputesTheSameBits) {
  auto hashed = surgery::layer_of(NoRouter<double>{surgery::experts}, Hash{{{0, 1, 2, 1}, {1, 1, 0, 2}}});
  const Matrix<double> x_TD = surgery::tokens();
  Batch<double> batch(x_TD);
  const std::vector<std::int64_t> ids{3, 1, 0, 2, 1, 3};
  batch.ids = ids;
  const Matrix<double> before = hashed.forward(batch);
  split_expert(hashed, 1, {.halve_mass = false});
  EXPECT_TRUE(same_bits(hashed.forward(batch), before));

  auto replayed = surgery::layer_with(Replay<double>::uniform(6, surgery::experts, 2));
  const Matrix<double> recorded = replayed.forward(x_TD);
  split_expert(replayed, 1, {.halve_mass = false});
  EXPECT_TRUE(same_bits(replayed.forward(x_TD), recorded));
}

TEST(ExpertRows, WhatIsNotOfTheOldExpertsIsRefused) {
  const auto swap = ExpertSources::copies(2, {1, 0});
  expect_invalid([&] { rearranged(Router<double>::zeros(3, 2), swap); }, {"3 rows for 2 experts"});
  expect_invalid([&] { rearranged(Hash{{{0, 2}}}, swap); }, {"names expert 2, there are 2"});
  expect_invalid([&] { rearranged(Replay<double>{{{0, -1, 1.0}}}, swap); }, {"names expert -1"});
}

/// A gate of a user's, with something for each expert.
struct Favourites {
  TopK top_k = {};
  Vector<double> favour_E;

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    routing.logits_TE.rowwise() += favour_E.transpose();
    top_k.route(batch, routing, random);
  }
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    top_k.backward(routing, drouting);
  }
  void rearrange_experts(const ExpertSources& sources) { favour_E = detail::rearranged_rows(favour_E, sources); }
};

TEST(ExpertRows, AUsersGateSaysWhatFollows) {
  auto layer = surgery::layer_with(Favourites{{.k = 2}, Vector<double>{{1, 2, 3}}});
  permute_experts(layer, {2, 0, 1});
  EXPECT_EQ(layer.gate.favour_E, (Vector<double>{{3, 1, 2}}));
}

using AnyGate = VariantGate<double, TopK, NoisyTopK<double>, ScoredTopK, FixedNoise<ScoredTopK>, Hash>;
using AnyExpert = VariantExpert<double, surgery::X, Linear<double>>;

/// Every operation on a layer and its optimiser.
template <class SomeLayer>
std::vector<std::function<void(SomeLayer&, AdamW<SomeLayer>&)>> operations() {
  return {
      [](auto& layer, auto& adam) {
        std::mt19937_64 rng(7);
        add_experts(layer, support::random_router(2, surgery::width, rng), {layer.experts[1], layer.experts[0]}, adam);
      },
      [](auto& layer, auto& adam) { remove_expert(layer, 0, adam); },
      [](auto& layer, auto& adam) {
        keep_experts(layer, {2, 1}, adam);
      },
      [](auto& layer, auto& adam) {
        permute_experts(layer, {2, 0, 1}, adam);
      },
      [](auto& layer, auto& adam) { split_expert(layer, 1, {}, adam); },
      [](auto& layer, auto& adam) { merge_experts(layer, 0, 2, {}, adam); },
      [](auto& layer, auto& adam) {
        Load load;
        load.chosen = {1, 3, 2};
        prune_by_load(layer, load, 2, adam);
      },
      [](auto& layer, auto& adam) {
        rearrange_experts(layer, {3, {{{0, 0.25}, {1, 0.75}}, {{2}}, {{1}}, {{1}}}}, adam);
      },
      [](auto& layer, auto&) {
        std::mt19937_64 rng(8);
        add_noise(layer, 0.1, rng);
      }};
}

/// The layers compute the same, train the same and call all that is an expert's the same, after each operation.
template <class Any, class Plain>
void expect_like(const Any& any, const Plain& plain) {
  const auto on_any = operations<Any>();
  const auto on_plain = operations<Plain>();
  Batch<double> batch = surgery::tokens();
  batch.ids = {0, 1, 2, 3, 0, 1};
  for (std::size_t i = 0; i < on_any.size(); ++i) {
    const auto outcome = [&](auto layer, const auto& operate) {
      AdamW adam{layer};
      EXPECT_TRUE(surgery::train_once(layer, adam, batch));
      operate(layer, adam);
      EXPECT_TRUE(surgery::train_once(layer, adam, batch));
      return std::tuple(expert_parameters(layer, {1}), flatten(layer), flatten(adam), layer.forward(batch).eval());
    };
    EXPECT_EQ(outcome(any, on_any[i]), outcome(plain, on_plain[i])) << "operation " << i;
  }
}

TEST(ExpertRows, AVariantGateFollowsAsTheGateThatItHolds) {
  const auto expect_followed = [](const auto& gate) {
    expect_like(surgery::layer_with(AnyGate{gate}), surgery::layer_with(gate));
  };
  std::mt19937_64 rng(6);
  ScoredTopK scored{.k = 2};
  scored.selection_bias_E = Vector<double>{{0.1, -0.3, 0.2}};
  expect_followed(TopK{.k = 2});
  expect_followed(support::random_noisy_gate(surgery::experts, surgery::width, {.k = 2}, rng));
  expect_followed(scored);
  expect_followed(FixedNoise{scored, 0.5});
  expect_followed(Hash{{{0, 1, 2, 1}, {2, 0, 1, 1}}});
}

TEST(ExpertRows, AVariantGateInAnotherFollows) {
  using Inner = VariantGate<double, TopK, ScoredTopK>;
  ScoredTopK scored{.k = 2};
  scored.selection_bias_E = Vector<double>{{0.1, -0.3, 0.2}};
  const Prioritized<Inner> gate{scored, Priority::weight};
  expect_like(surgery::layer_with(VariantGate<double, Prioritized<Inner>, TopK>{gate}),
              surgery::layer_with(Prioritized<ScoredTopK>{scored, Priority::weight}));
}

TEST(ExpertRows, VariantExpertsAreOperatedOnAsWhatTheyHold) {
  const auto plain = surgery::layer_with(TopK{.k = 2});
  const Layer any{plain.router, plain.gate, std::vector<AnyExpert>(plain.experts.begin(), plain.experts.end())};
  expect_like(any, plain);
}

TEST(ExpertRows, ExpertsOfDifferentKindsDoNotMix) {
  std::mt19937_64 rng(9);
  const auto plain = surgery::layer_with(TopK{.k = 2});
  Layer layer{plain.router, plain.gate,
              std::vector<AnyExpert>{plain.experts[0], Linear<double>::random(surgery::width, surgery::width, rng),
                                     plain.experts[2]}};
  AdamW adam{layer};
  const Vector<double> before = flatten(layer);
  expect_invalid([&] { merge_experts(layer, 0, 1, {}, adam); }, {"types 0 and 1"});
  EXPECT_TRUE(same_bits(flatten(layer), before));
  EXPECT_NO_THROW(merge_experts(layer, 0, 2, {}, adam));
  EXPECT_NO_THROW(split_expert(layer, 1, {}, adam));
  EXPECT_NO_THROW(permute_experts(layer, {2, 1, 0}, adam));
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
}

}  // namespace expert_rows_test
}  // namespace moe
