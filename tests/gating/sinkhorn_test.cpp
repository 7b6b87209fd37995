#include "moe/gating/sinkhorn.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "gating/route.hpp"

namespace moe {
namespace sinkhorn_test {

Matrix<double> transport(const Sinkhorn& gate, const Matrix<double>& logits_TE,
                         std::span<const std::uint8_t> valid = {}) {
  auto routing = gating::route(gate, logits_TE, valid);
  Matrix<double> p_TE;
  gate.transport(routing, p_TE);
  return p_TE;
}

// Megatron-Core's iteration, computed by hand: three rounds.
TEST(Sinkhorn, ThePlanOfThreeTokens) {
  const Matrix<double> z{{1, .5, .2}, {.9, .1, .3}, {.8, .7, .6}};
  const Matrix<double> expected{{.121569, .118001, .093763}, {.125260, .090071, .118000}, {.086504, .125261, .121570}};
  EXPECT_LT((transport(Sinkhorn{}, z) - expected).cwiseAbs().maxCoeff(), 1e-6);
}

// The iteration of the comment, as it stands there, with an epsilon that can be seen.
TEST(Sinkhorn, EpsilonIsAddedToRowsAndColumns) {
  std::mt19937_64 rng(3);
  const Matrix<double> z = random_matrix<double>(5, 3, rng), k = z.array().exp();
  const Sinkhorn gate{.epsilon = .3};
  Vector<double> a(5), b = Vector<double>::Ones(3), before;
  do {
    before = b;
    a = ((k * b).array() + .3).inverse() / 5;
    b = ((k.transpose() * a).array() + .3).inverse() / 3;
  } while ((b - before).cwiseAbs().mean() > gate.tolerance);
  EXPECT_LT((transport(gate, z) - Matrix<double>(a.asDiagonal() * k * b.asDiagonal())).cwiseAbs().maxCoeff(), 1e-12);
}

TEST(Sinkhorn, RowsAndColumnsAreEven) {
  std::mt19937_64 rng(2);
  const Matrix<double> p = transport(Sinkhorn{.tolerance = 1e-12}, random_matrix<double>(8, 4, rng));
  for (Index t = 0; t < 8; ++t) EXPECT_NEAR(p.row(t).sum(), 1. / 8, 1e-7);
  for (Index e = 0; e < 4; ++e) EXPECT_NEAR(p.col(e).sum(), 1. / 4, 1e-7);
}

TEST(Sinkhorn, HugeLogitsDoNotOverflow) {
  const Matrix<double> z{{900, 899}, {901, 900}, {900, 898}, {902, 900}};
  EXPECT_TRUE(transport(Sinkhorn{}, z).allFinite());
}

TEST(Sinkhorn, PaddingTakesNoPart) {
  const Matrix<double> z{{1, .5}, {7, 7}, {.9, .1}}, without{{1, .5}, {.9, .1}};
  const std::vector<std::uint8_t> valid{1, 0, 1};
  for (const double temperature : {1., .5}) {
    const Sinkhorn gate{.temperature = temperature};
    const Matrix<double> p = transport(gate, z, valid), expected = transport(gate, without);
    EXPECT_EQ(p.row(0), expected.row(0));
    EXPECT_EQ(p.row(2), expected.row(1));
    EXPECT_TRUE((p.row(1).array() == 0).all());
  }
}

TEST(Sinkhorn, TrainingBalancesWhatEvaluationDoesNot) {
  const Matrix<double> z{{3, 0}, {3, 1}, {3, 2}, {3, 2.5}};
  EXPECT_EQ(gating::experts_of(gating::route(Sinkhorn{}, z)), (std::vector<Index>{0, 0, 0, 0}));
  Random random(1);
  EXPECT_EQ(gating::experts_of(gating::route(Sinkhorn{}, z, {}, 0, &random)), (std::vector<Index>{0, 0, 1, 1}));
}

TEST(Sinkhorn, ATemperatureDividesTheLogitsOfTheTransportAlone) {
  std::mt19937_64 rng(2);
  const auto z = random_matrix<double>(8, 4, rng);
  const Matrix<double> tenfold = z * 10;
  const Sinkhorn gate{.k = 2, .tolerance = 1e-300, .most_rounds = 50, .temperature = .1};
  const Sinkhorn exact{.tolerance = 1e-300, .epsilon = 0, .most_rounds = 50};  // gaps that need no logarithms
  EXPECT_TRUE(transport(gate, z).isApprox(transport(exact, tenfold), 1e-12));
  Random random(1);
  const auto routing = gating::route(gate, z, {}, 0, &random);
  EXPECT_EQ(routing.choices[0].weight,
            gating::route(Sinkhorn{.k = 2}, z).probabilities_TE(0, routing.choices[0].expert));
  for (const double temperature : {0., 1e-50, 1e50})  // in float 0 and infinite
    EXPECT_THROW(Sinkhorn{.temperature = temperature}.check(3), std::invalid_argument);
}

/// How many tokens go to each of three experts.
template <class S>
std::vector<Index> loads(const Sinkhorn& gate, const Matrix<S>& logits_TE) {
  Random random(1);
  std::vector<Index> counts(3, 0);
  for (const Index e : gating::experts_of(gating::route(gate, logits_TE, {}, 0, &random)))
    ++counts[static_cast<std::size_t>(e)];
  return counts;
}

// exp(-80) is lost beside the epsilon, in float exp(-400) is 0: neither may send all tokens to one expert.
TEST(Sinkhorn, ASmallTemperatureBalancesLogitsThatAreFarApart) {
  std::mt19937_64 rng(2);
  for (const double gap : {8., 40.}) {
    const Matrix<double> z = (random_matrix<double>(30, 3, rng) * .1).rowwise() + Matrix<double>{{gap, 0, -gap}}.row(0);
    const Sinkhorn gate{.temperature = .1};
    for (const auto& counts : {loads(gate, z), loads(gate, Matrix<float>(z.cast<float>()))})
      for (const Index count : counts) EXPECT_GT(count, 5);
    const Matrix<double> p = transport(gate, z);
    for (Index e = 0; e < 3; ++e) EXPECT_NEAR(p.col(e).sum(), 1. / 3, 1e-12);
    for (Index t = 0; t < 30; ++t) EXPECT_NEAR(p.row(t).sum(), 1. / 30, 1e-4);
  }
}

// The plan is even already, and exp(-300) and exp(-600) are both 0.
TEST(Sinkhorn, ChoicesAreInTheOrderOfThePlanWhereItUnderflows) {
  const Matrix<float> z{{60, 0, 30}, {0, 60, 30}, {0, 30, 60}};
  Random random(1);
  const auto routing = gating::route(Sinkhorn{.k = 2, .temperature = .1}, z, {}, 0, &random);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 1, 2, 2, 2, 1}));
}

// Token 1 has NaN: it takes the first experts, and the others choose as if it were padding.
TEST(Sinkhorn, ATokenOfNaNLeavesTheOthersAlone) {
  Matrix<double> z{{1, .5, .2}, {.9, .1, .3}, {.8, .7, .6}, {1, 0, .9}};
  const std::vector<std::uint8_t> valid{1, 0, 1, 1};
  for (const double temperature : {1., .5}) {
    Random random(1);
    const Sinkhorn gate{.k = 1, .temperature = temperature};
    const auto without = gating::route(gate, z, valid, 0, &random);
    z(1, 2) = std::nan("");
    const auto with = gating::route(gate, z, {}, 0, &random);
    EXPECT_EQ(with.choices.size(), 4u);
    for (const auto& c : without.choices) {
      const auto& same = with.choices[static_cast<std::size_t>(c.token)];
      EXPECT_EQ(same.expert, c.expert) << "token " << c.token;
      EXPECT_EQ(same.weight, c.weight);
    }
  }
}

// All of P but each token's largest entry underflows; the second choice is the second best all the same.
TEST(Sinkhorn, TheSecondChoiceIsTheSecondBestWhereThePlanUnderflows) {
  Random random(1);
  const Matrix<float> z{{0, -200, -150}};
  EXPECT_EQ(gating::experts_of(gating::route(Sinkhorn{.k = 2}, z, {}, 0, &random)), (std::vector<Index>{0, 2}));
}

}  // namespace sinkhorn_test
}  // namespace moe
