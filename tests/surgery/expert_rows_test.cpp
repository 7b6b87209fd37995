#include "moe/surgery/expert_rows.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
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

}  // namespace expert_rows_test
}  // namespace moe
