#include "moe/gating/hash.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace hash_test {

using support::expect_invalid;

const Hash hash{{{1, 0, 1}}};
const Matrix<float> logits_TE = Matrix<float>::Zero(2, 2), x_TD = Matrix<float>::Zero(2, 1);

Routing<float> route_ids(const std::vector<std::int64_t>& ids, const std::vector<std::uint8_t>& valid = {}) {
  Batch<float> batch = x_TD;
  batch.ids = ids;
  batch.valid = valid;
  return gating::route(hash, batch, logits_TE);
}

TEST(Hash, TheTableDecidesWithWeightOne) {
  const auto routing = route_ids({2, 1});
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1, 0}));
  EXPECT_EQ(gating::weights_of(routing), (std::vector<float>{1, 1}));
  EXPECT_EQ(routing.probabilities_TE, (Matrix<float>{{0, 1}, {1, 0}}));
  EXPECT_EQ(routing.choices_per_token, 1);
}

TEST(Hash, IdsOutsideTheTableAreRefused) {
  expect_invalid([] { route_ids({0, 3}); }, {"token 1 has id 3", "table has 3"});
  expect_invalid([] { route_ids({-1, 0}); }, {"token 0 has id -1"});
  expect_invalid([] { route_ids({0, (std::numeric_limits<std::int64_t>::min)()}); }, {"-9223372036854775808"});
}

TEST(Hash, TheIdOfPaddingIsNotRead) {
  const auto routing = route_ids({-1, 0}, {0, 1});
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{1}));
}

TEST(Hash, ABatchWithoutIdsIsRefused) {
  expect_invalid([] { gating::route(hash, logits_TE); }, {"no ids"});
}

TEST(Hash, ATableThatNamesOtherExpertsIsRefused) {
  EXPECT_NO_THROW(hash.check(2));
  expect_invalid([] { hash.check(1); }, {"experts 0 to 1", "there are 1"});
  expect_invalid([] { Hash{{{0, -1}}}.check(2); }, {"-1 to 0"});
  expect_invalid([] { Hash{}.check(2); }, {"table is empty"});
}

TEST(Hash, ARandomTableUsesEveryExpertAndNoOther) {
  std::mt19937_64 generator{1};
  const Hash random = Hash::random(200, 3, generator);
  EXPECT_EQ(random.tables[0].size(), 200u);
  EXPECT_NO_THROW(random.check(3));
  std::vector<int> uses(3, 0);
  for (const Index expert : random.tables[0]) ++uses[static_cast<std::size_t>(expert)];
  for (const int count : uses) EXPECT_GT(count, 30);  // of 67 on average, with a standard deviation of 7
}

TEST(Hash, ABalancedTableGivesTheNextIdToTheLightestExpert) {
  // By falling frequency: id 1 (5) to expert 0, id 3 (4) to expert 1, id 0 (2) to expert 1 (4 < 5),
  // id 2 (2) to expert 0 (5 < 6).
  EXPECT_EQ(Hash::balanced({2, 5, 2, 4}, 2).tables[0], (std::vector<Index>{1, 0, 0, 1}));
}

TEST(Hash, TiesGoToTheLowerIdAndTheLowerExpert) {
  EXPECT_EQ(Hash::balanced({1, 1, 1, 1}, 3).tables[0], (std::vector<Index>{0, 1, 2, 0}));
}

TEST(Hash, SizesBelowOneAreRefused) {
  std::mt19937_64 generator{1};
  expect_invalid([&] { Hash::random(0, 3, generator); }, {"0 ids and 3 experts"});
  expect_invalid([&] { Hash::random(3, 0, generator); }, {"3 ids and 0 experts"});
  expect_invalid([] { Hash::balanced({}, 3); }, {"0 ids"});
  expect_invalid([] { Hash::balanced({1}, -1); }, {"-1 experts"});
}

TEST(Hash, FrequenciesThatAreNoFrequenciesAreRefused) {
  expect_invalid([] { Hash::balanced({1, -0.5}, 2); }, {"id 1 has frequency -0.5", "0 or more"});
  expect_invalid([] { Hash::balanced({support::nan_of<double>, 1}, 2); }, {"id 0 has frequency", "nan"});
  expect_invalid([] { Hash::balanced({1, 2, support::infinity_of<double>}, 2); }, {"id 2 has frequency inf"});
  EXPECT_EQ(Hash::balanced({0, 0, 3}, 2).tables[0], (std::vector<Index>{1, 1, 0}));  // never seen is a frequency
}

TEST(Hash, SeveralTablesShareTheWeight) {
  const Hash two{{{1, 0, 1}, {0, 0, 1}}};
  Batch<float> batch = x_TD;
  const std::vector<std::int64_t> ids{0, 2};
  batch.ids = ids;
  const auto routing = gating::route(two, batch, logits_TE);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1, 1, 0, 1}));  // table by table
  EXPECT_EQ(gating::weights_of(routing), (std::vector<float>{.5f, .5f, .5f, .5f}));
  EXPECT_EQ(routing.probabilities_TE, (Matrix<float>{{.5, .5}, {0, 1}}));
}

TEST(Hash, CloseEmbeddingsShareAnExpert) {
  const Matrix<double> embeddings{{0, 0}, {10, 10}, {0, 1}, {10, 11}, {1, 0}, {11, 10}};
  std::mt19937_64 rng(1);
  const auto table = Hash::clustered(embeddings, 2, rng).tables[0];
  EXPECT_EQ(table[0], table[2]);
  EXPECT_EQ(table[0], table[4]);
  EXPECT_EQ(table[1], table[3]);
  EXPECT_EQ(table[1], table[5]);
  EXPECT_NE(table[0], table[1]);
  expect_invalid([&] { Hash::clustered(embeddings, 7, rng); }, {"6 ids", "7 experts"});
}

TEST(Hash, TablesOfDifferentLengthsAreRefused) {
  expect_invalid([] { Hash{{{0, 1}, {0}}}.check(2); }, {"tables of 2 and 1"});
}

/// DeepSeek-V4's first layers: sqrt(softplus(z)) of the table's experts, divided by their sum, times the scale.
TEST(Hash, ProbabilitiesThatUnderflowHaveWeights) {
  const Matrix<float> logits{{0, -200, -200}};
  const std::vector<std::int64_t> ids{0};
  for (const double epsilon : {0., 1e-100}) {
    const Hash gate{.tables = {{1}, {2}}, .weights = ChoiceWeights::renormalized({.epsilon = epsilon})};
    const Matrix<float> token = Matrix<float>::Zero(1, 1);
    Batch<float> batch = token;
    batch.ids = ids;
    const auto routing = gating::route(gate, batch, logits);
    for (const auto& choice : routing.choices) EXPECT_NEAR(choice.weight, 0.5, 1e-6);
    const auto dlogits_TE = gating::backward(gate, routing, {1.f, 0.f}).logits_TE;
    EXPECT_NEAR(dlogits_TE(0, 1), 0.25, 1e-6);
    EXPECT_NEAR(dlogits_TE(0, 2), -0.25, 1e-6);
  }
}

TEST(Hash, ScoresMayWeigh) {
  const Hash two{.tables = {{1, 0, 1}, {0, 2, 2}}, .weights = Scores::sqrt_softplus({.scale = 1.5})};
  const Matrix<double> logits{{1, 2, 3}, {-1, 0, 4}}, x = Matrix<double>::Zero(2, 1);
  Batch<double> batch = x;
  const std::vector<std::int64_t> ids{0, 2};
  batch.ids = ids;
  const auto routing = gating::route(two, batch, logits);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1, 1, 0, 2}));
  const auto score = [](double z) { return std::sqrt(std::log1p(std::exp(z))); };
  EXPECT_NEAR(routing.choices[0].weight, 1.5 * score(2) / (score(2) + score(1)), 1e-15);
  EXPECT_NEAR(routing.choices[2].weight, 1.5 * score(1) / (score(2) + score(1)), 1e-15);
  EXPECT_NEAR(routing.choices[3].weight, 1.5 * score(4) / (score(0) + score(4)), 1e-15);
  gating::expect_exact_gradient(two, batch, logits, {1, -2, 3, .5});
}

TEST(Hash, ProbabilitiesMayBeDividedAsInTopK) {
  const Hash two{.tables = {{1}, {0}}, .weights = ChoiceWeights::renormalized({.epsilon = .25, .norm = 2})};
  const Matrix<double> logits = Matrix<double>{{.3, .4, .3}}.array().log(), x = Matrix<double>::Zero(1, 1);
  Batch<double> batch = x;
  const std::vector<std::int64_t> ids{0};
  batch.ids = ids;
  EXPECT_NEAR(gating::route(two, batch, logits).choices[0].weight, .4 / (.5 + .25), 1e-15);
}

TEST(Hash, WeightsThatTeachTheRouterNothingAreRefused) {
  const std::vector<std::vector<Index>> one{{0, 1}}, two{{0, 1}, {1, 1}};
  for (const auto& weights : {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized()}) {
    expect_invalid([&] { (Hash{.tables = one, .weights = weights}.check(2)); }, {"one table", "learns nothing"});
    EXPECT_NO_THROW((Hash{.tables = two, .weights = weights}.check(2)));
  }
  expect_invalid([&] { (Hash{.tables = one, .weights = Scores::sigmoid()}.check(2)); },
                 {"one table", "normalize = false"});
  EXPECT_NO_THROW((Hash{.tables = one, .weights = Scores::sigmoid({.normalize = false})}.check(2)));
  EXPECT_NO_THROW((Hash{.tables = one, .weights = ChoiceWeights::probabilities()}.check(2)));
}

}  // namespace hash_test
}  // namespace moe
