#include "moe/optim/quantile_balance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace quantile_balance_test {

using support::expect_invalid;

/// Logits whose sigmoid these are.
Matrix<double> logits_of(const Matrix<double>& scores_TE) {
  return scores_TE.unaryExpr([](double s) { return std::log(s / (1 - s)); });
}

const Matrix<double> golden_TE{{.743, .283, .555, .064}, {.660, .394, .511, .222}, {.504, .325, .645, .104},
                               {.529, .486, .624, .593}, {.830, .379, .473, .375}, {.500, .522, .580, .588},
                               {.547, .367, .575, .444}, {.454, .109, .620, .025}, {.708, .247, .484, .309},
                               {.588, .210, .538, .430}, {.533, .683, .651, .234}, {.773, .175, .515, .329}};

std::vector<Index> counts(const Routing<double>& routing) {
  std::vector<Index> counts(static_cast<std::size_t>(routing.experts()), 0);
  for (const auto& choice : routing.choices) ++counts[static_cast<std::size_t>(choice.expert)];
  return counts;
}

/// How often an expert is among the two largest of s + bias, to a billionth: the lower number wins a tie.
std::vector<Index> counts(const Matrix<double>& scores_TE, const Vector<double>& bias_E) {
  std::vector<Index> counts(static_cast<std::size_t>(scores_TE.cols()), 0);
  for (Index t = 0; t < scores_TE.rows(); ++t)
    for (Index e = 0; e < scores_TE.cols(); ++e) {
      Index ahead = 0;
      for (Index f = 0; f < scores_TE.cols(); ++f) {
        const double more = scores_TE(t, f) + bias_E[f] - scores_TE(t, e) - bias_E[e];
        ahead += more > 1e-9 || (more > -1e-9 && f < e) ? 1 : 0;
      }
      counts[static_cast<std::size_t>(e)] += ahead < 2 ? 1 : 0;
    }
  return counts;
}

struct Step {
  Vector<double> bias_E;
  std::vector<Index> counts;
};

/// Three steps on the golden scores: what was chosen, by which bias.
std::vector<Step> steps(QuantileBalanceOptions options) {
  ScoredTopK gate{.k = 2};
  QuantileBalance balance{options};
  std::vector<Step> steps;
  for (int i = 0; i < 3; ++i) {
    balance.add(gate, gating::route(gate, logits_of(golden_TE)));
    balance.update(gate);
    steps.push_back({gate.selection_bias_E, counts(golden_TE, gate.selection_bias_E)});
  }
  return steps;
}

TEST(QuantileBalance, GoldenNumbersByInterpolation) {
  const auto got = steps({});
  EXPECT_LE((got[0].bias_E - Vector<double>{{-.13625, .08625, -.03825, .08825}}).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LE((got[1].bias_E - Vector<double>{{-.141875, .106125, -.072375, .108125}}).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LE((got[2].bias_E - Vector<double>{{-.1683125, .1184375, -.0715625, .1214375}}).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_EQ(got[0].counts, (std::vector<Index>{6, 5, 9, 4}));
  EXPECT_EQ(got[1].counts, (std::vector<Index>{6, 6, 7, 5}));
  EXPECT_EQ(got[2].counts, (std::vector<Index>{6, 6, 6, 6}));
}

// Such a quantile makes a token's second and third expert equal. In the last step tokens 4, 8 and 9 are such, and the
// lower number wins in exact arithmetic, as here; rounding may give 6 6 7 5.
TEST(QuantileBalance, GoldenNumbersByOrder) {
  const auto got = steps({.quantile = Quantile::order});
  EXPECT_LE((got[0].bias_E - Vector<double>{{-.10575, .07325, -.04475, .07725}}).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LE((got[1].bias_E - Vector<double>{{-.0925, .0865, -.0845, .0905}}).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_LE((got[2].bias_E - Vector<double>{{-.124, .097, -.074, .101}}).cwiseAbs().maxCoeff(), 1e-12);
  EXPECT_EQ(got[0].counts, (std::vector<Index>{7, 4, 9, 4}));
  EXPECT_EQ(got[1].counts, (std::vector<Index>{8, 5, 7, 4}));
  EXPECT_EQ(got[2].counts, (std::vector<Index>{7, 6, 7, 4}));
}

TEST(QuantileBalance, AHistogramIsAsExactAsItsBins) {
  const auto exact = steps({})[0], binned = steps({.bins = 1000})[0];
  EXPECT_LE((exact.bias_E - binned.bias_E).cwiseAbs().maxCoeff(), .05);  // of 12 numbers, between which there is much
  const Matrix<double> logits_TE = support::random_matrix<double>(4000, 8, 3);
  ScoredTopK gate{.k = 2}, other = gate;
  QuantileBalance one, two{{.bins = 1000}};
  one.add(gate, gating::route(gate, logits_TE));
  two.add(gate, gating::route(gate, logits_TE));
  one.update(gate);
  two.update(other);
  EXPECT_LE((gate.selection_bias_E - other.selection_bias_E).cwiseAbs().maxCoeff(), 2. / 1000);
}

// The bias makes the loads even when it is used on the tokens that it was made of, again and again.
TEST(QuantileBalance, EvensOutWhatAllWouldChoose) {
  Matrix<double> logits_TE = support::random_matrix<double>(2000, 8, 4);
  logits_TE.col(3).array() += 3;
  for (const auto bias_on : {ScoredTopK::BiasOn::scores, ScoredTopK::BiasOn::logits}) {
    ScoredTopK gate{.k = 2, .bias_on = bias_on};
    const Index before = counts(gating::route(gate, logits_TE))[3];
    EXPECT_GT(before, 1500);
    QuantileBalance balance;
    for (int i = 0; i < 8; ++i) {
      balance.add(gate, gating::route(gate, logits_TE));
      balance.update(gate);
    }
    for (const Index count : counts(gating::route(gate, logits_TE))) EXPECT_NEAR(static_cast<double>(count), 500, 25);
  }
}

TEST(QuantileBalance, MicroBatchesAreOneBatch) {
  for (const Index bins : {0, 100}) {
    ScoredTopK whole{.k = 2}, parts = whole;
    QuantileBalance balance{{.bins = bins}}, other = balance;
    balance.add(whole, gating::route(whole, logits_of(golden_TE)));
    other.add(parts, gating::route(parts, logits_of(golden_TE.bottomRows(5))));
    other.add(parts, gating::route(parts, logits_of(golden_TE.topRows(7))));
    EXPECT_EQ(other.tokens(), 12);
    balance.update(whole);
    other.update(parts);
    EXPECT_EQ(whole.selection_bias_E, parts.selection_bias_E);
    EXPECT_EQ(other.tokens(), 0);
  }
}

TEST(QuantileBalance, OrTheMeanOfTheBatches) {
  ScoredTopK gate{.k = 2}, first = gate, second = gate;
  QuantileBalance balance{{.quantile = Quantile::order, .per_batch = true}}, one = balance, two = balance;
  const auto head = gating::route(gate, logits_of(golden_TE.topRows(6)));
  const auto tail = gating::route(gate, logits_of(golden_TE.bottomRows(6)));
  balance.add(gate, head);
  balance.add(gate, tail);
  one.add(first, head);
  two.add(second, tail);
  balance.update(gate);
  one.update(first);
  two.update(second);
  const Vector<double> mean_E = (first.selection_bias_E + second.selection_bias_E) / 2;
  EXPECT_LE((gate.selection_bias_E - mean_E).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(QuantileBalance, PaddingDoesNotCount) {
  Matrix<double> padded_TE(14, 4);
  padded_TE << golden_TE, Matrix<double>::Constant(2, 4, .9);
  std::vector<std::uint8_t> valid(14, 1);
  valid[12] = valid[13] = 0;
  ScoredTopK gate{.k = 2}, other = gate;
  QuantileBalance balance;
  balance.add(gate, gating::route(gate, logits_of(padded_TE), valid));
  balance.update(gate);
  balance.add(other, gating::route(other, logits_of(golden_TE)));
  balance.update(other);
  EXPECT_EQ(gate.selection_bias_E, other.selection_bias_E);
}

TEST(QuantileBalance, KeepsAShareOfTheOldBias) {
  ScoredTopK gate{.k = 2, .selection_bias_E = Vector<double>{{.1, -.1, .2, -.2}}}, other = gate;
  QuantileBalance all, half{{.average = .5}};
  all.add(gate, gating::route(gate, logits_of(golden_TE)));
  half.add(gate, gating::route(gate, logits_of(golden_TE)));
  const Vector<double> before_E = gate.selection_bias_E;
  all.update(gate);
  half.update(other);
  EXPECT_LE((other.selection_bias_E - (before_E + gate.selection_bias_E) / 2).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(QuantileBalance, WithoutTokensNothingChanges) {
  ScoredTopK gate{.k = 2};
  QuantileBalance balance;
  balance.add(gate, gating::route(gate, Matrix<double>(0, 4)));
  balance.update(gate);
  EXPECT_EQ(gate.selection_bias_E.size(), 0);
}

TEST(QuantileBalance, RefusesWhatItCannotBalance) {
  ScoredTopK gate{.k = 2};
  const auto routing = gating::route(gate, logits_of(golden_TE));
  QuantileBalance balance;
  ScoredTopK all{.k = 4}, grouped{.k = 2, .groups = 2, .groups_used = 1};
  expect_invalid([&] { balance.add(all, gating::route(all, logits_of(golden_TE))); }, {"k = 4 of 4 experts"});
  expect_invalid([&] { balance.add(grouped, gating::route(grouped, logits_of(golden_TE))); }, {"by groups"});
  ScoredTopK each{.k = 2, .groups = 2, .groups_used = 2, .from_each_group = true};
  expect_invalid([&] { balance.add(each, gating::route(each, logits_of(golden_TE))); }, {"by groups"});
  ScoredTopK broken_bias{.k = 2, .selection_bias_E = Vector<double>::Constant(4, support::nan_of<double>)};
  expect_invalid([&] { balance.add(broken_bias, routing); }, {"a bias of nan"});
  expect_invalid([&] { (QuantileBalance{{.bins = -1}}); }, {"-1 bins"});
  expect_invalid([&] { (QuantileBalance{{.bins = 5, .per_batch = true}}); }, {"5 bins"});
  expect_invalid([&] { (QuantileBalance{{.average = 1}}); }, {"average is 1"});
  ScoredTopK on_logits{.k = 2, .bias_on = ScoredTopK::BiasOn::logits};
  expect_invalid([&] { (QuantileBalance{{.bins = 5}}.add(on_logits, routing)); }, {"scores in [0, 1]"});
  auto broken = routing;
  broken.scores_TE(5, 1) = std::numeric_limits<double>::quiet_NaN();
  expect_invalid([&] { balance.add(gate, broken); }, {"token 5 and expert 1"});
  EXPECT_EQ(balance.tokens(), 0);
  balance.add(gate, routing);
  expect_invalid([&] { balance.add(on_logits, routing); }, {"update first"});
  gate.selection_bias_E = Vector<double>{{0, 0, 1, 0}};
  expect_invalid([&] { balance.add(gate, routing); }, {"update first"});
  expect_invalid([&] { balance.update(gate); }, {"update first"});
}

}  // namespace quantile_balance_test
}  // namespace moe
