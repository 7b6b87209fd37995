#include "moe/surgery/neuron_importance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace neuron_importance_test {

using support::expect_invalid;

Mlp<double> network() { return {.w1_FD = Matrix<double>{{1, 2}, {3, 4}}, .w2_DF = Matrix<double>{{5, 6}, {7, 8}}}; }

Mlp<double> gradient() { return {.w1_FD = Matrix<double>{{1, 1}, {1, 0}}, .w2_DF = Matrix<double>{{-2, 0}, {0, 1}}}; }

TEST(NeuronImportance, IsTheAbsoluteProductOfWeightsAndGradients) {
  Vector<double> importance_F;
  add_neuron_importance(network(), gradient(), importance_F);
  EXPECT_EQ(importance_F, (Vector<double>{{7, 11}}));  // |1 + 2 - 10|, |3 + 8|
}

TEST(NeuronImportance, OfAGatedUnitCountsBothOfItsWeights) {
  const SwiGlu<double> gated{
      .w1_FD = network().w1_FD, .w3_FD = Matrix<double>{{1, 1}, {0, 2}}, .w2_DF = network().w2_DF};
  const SwiGlu<double> slopes{
      .w1_FD = gradient().w1_FD, .w3_FD = Matrix<double>{{1, -3}, {9, -10}}, .w2_DF = gradient().w2_DF};
  Vector<double> importance_F;
  add_neuron_importance(gated, slopes, importance_F);
  EXPECT_EQ(importance_F, (Vector<double>{{9, 9}}));  // |-7 - 2|, |11 - 20|
}

/// What the loss changes, to first order, if the unit goes: here by shrinking it a little.
TEST(NeuronImportance, PredictsTheChangeOfTheLoss) {
  std::mt19937_64 rng(1);
  const auto network = support::random_expert<SwiGlu<double>>(3, 4, rng, false);
  const Matrix<double> x = support::random_matrix(1, 3, rng);
  const auto loss = [&](const SwiGlu<double>& of, Matrix<double>& y) {
    SwiGlu<double>::Tape tape;
    of.forward(x, y, tape);
    return y.squaredNorm() / 2;
  };
  Matrix<double> y(1, 3), dx(1, 3);
  SwiGlu<double>::Tape tape;
  SwiGlu<double> gradient = zeros_like(network);
  network.forward(x, y, tape);
  network.backward(x, y, tape, dx, gradient);
  Vector<double> importance_F;
  add_neuron_importance(network, gradient, importance_F);
  for (Index unit = 0; unit < 4; ++unit) {
    const auto at = [&](double scale) {
      SwiGlu<double> scaled = network;
      for (Index d = 0; d < 3; ++d)
        scaled.w1_FD(unit, d) *= scale, scaled.w3_FD(unit, d) *= scale, scaled.w2_DF(d, unit) *= scale;
      return loss(scaled, y);
    };
    EXPECT_NEAR(importance_F(unit), std::abs(at(1 + 1e-5) - at(1 - 1e-5)) / 2e-5, 1e-7);
  }
}

TEST(NeuronImportance, AddsUpOverExamples) {
  Vector<double> importance_F{{100, 200}};
  add_neuron_importance(network(), gradient(), importance_F);
  EXPECT_EQ(importance_F, (Vector<double>{{107, 211}}));
}

TEST(NeuronImportance, ShapesThatDifferAreRefused) {
  Vector<double> three = Vector<double>::Zero(3), none;
  expect_invalid([&] { add_neuron_importance(network(), gradient(), three); }, {"3 scores for 2 hidden units"});
  const Mlp<double> other{.w1_FD = Matrix<double>::Zero(3, 2), .w2_DF = Matrix<double>::Zero(2, 3)};
  expect_invalid([&] { add_neuron_importance(network(), other, none); }, {"add_neuron_importance: the gradient"});
  const Mlp<double> torn{.w1_FD = Matrix<double>::Zero(3, 2), .w2_DF = Matrix<double>::Zero(2, 2)};
  expect_invalid([&] { add_neuron_importance(torn, torn, none); }, {"the hidden widths differ"});
}

TEST(OrderByImportance, FallsAndKeepsTheOrderOfEquals) {
  EXPECT_EQ(order_by_importance(Vector<double>{{1, 3, 2, 3}}), (std::vector<Index>{1, 3, 2, 0}));
}

TEST(OrderByImportance, WhatHasNoOrderIsRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_invalid([&] { order_by_importance(Vector<double>{{1, nan, 2}}); }, {"unit 1 has NaN"});
}

TEST(SplitByImportance, SharesTheMostImportantAndDealsTheRest) {
  const std::vector<Index> order{4, 2, 0, 1, 3};
  EXPECT_EQ(split_by_importance(order, 2, 1, 3), (std::vector<std::vector<Index>>{{4, 2, 1}, {4, 0, 3}}));
  EXPECT_EQ(split_by_importance(order, 2, 0, 2), (std::vector<std::vector<Index>>{{4, 0}, {2, 1}}));
  EXPECT_EQ(split_by_importance(order, 2, 2, 2), (std::vector<std::vector<Index>>{{4, 2}, {4, 2}}));
}

TEST(SplitByImportance, MoreUnitsThanThereAreAreRefused) {
  const std::vector<Index> order{4, 2, 0, 1, 3};
  expect_invalid([&] { split_by_importance(order, 2, 0, 3); }, {"expert 1 gets 2 units, not 3"});
  expect_invalid([&] { split_by_importance(order, 5, 0, 3); }, {"expert 0 gets 1 units, not 3"});
  expect_invalid([&] { split_by_importance(order, 2, 6, 6); }, {"5 units cannot give 2 experts 6 each, 6 of them"});
  expect_invalid([&] { split_by_importance(order, 0, 0, 1); }, {"0 experts"});
  expect_invalid([&] { split_by_importance(order, 1, 2, 1); }, {"2 of them shared"});
}

/// MoEBERT from end to end: a trained network, scores from data, the split, and layer-wise distillation from the dense
/// outputs, with hashed and with learned routing.
template <class SomeLayer>
void expect_distilled(SomeLayer layer, const Batch<double>& batch, const Matrix<double>& teacher_TD) {
  AdamW adam{layer, {.learning_rate = 1e-2}};
  const MeanSquaredDistillation loss;
  typename SomeLayer::Tape tape{1};
  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    const Matrix<double> y_TD = layer.forward(batch, tape);
    last = loss.value<double>(y_TD, teacher_TD);
    if (step == 0) first = last;
    Matrix<double> dy_TD = Matrix<double>::Zero(y_TD.rows(), y_TD.cols());
    loss.backward<double>(y_TD, teacher_TD, 1, dy_TD);
    SomeLayer gradient = zeros_like(layer);
    layer.backward(batch, dy_TD, tape, gradient);
    ASSERT_TRUE(adam.step(layer, gradient));
  }
  EXPECT_LT(last, first / 4);
}

TEST(MoeBert, SplitsByImportanceAndDistills) {
  std::mt19937_64 rng(1);
  const auto dense = support::random_expert<Mlp<double, Gelu>>(4, 12, rng);
  const Matrix<double> x_TD = support::random_matrix(64, 4, rng), target_TD = support::random_matrix(64, 4, rng);
  Matrix<double> y_TD(64, 4), dx(1, 4);
  Vector<double> importance_F;
  Mlp<double, Gelu>::Tape tape;
  for (Index t = 0; t < 64; ++t) {
    auto gradient = zeros_like(dense);
    dense.forward(x_TD.row(t), y_TD.row(t), tape);
    dense.backward(x_TD.row(t), y_TD.row(t) - target_TD.row(t), tape, dx, gradient);
    add_neuron_importance(dense, gradient, importance_F);
  }
  const auto experts = split_network(dense, split_by_importance(order_by_importance(importance_F), 3, 2, 5));
  Batch<double> batch(x_TD);
  std::vector<std::int64_t> ids;
  for (Index t = 0; t < 64; ++t) ids.push_back(t % 7);
  batch.ids = ids;
  expect_distilled(Layer{NoRouter<double>{3}, Hash::random(7, 3, rng), experts}, batch, y_TD);
  expect_distilled(Layer{Router<double>::random(3, 4, rng), switch_top1(), experts}, batch, y_TD);
}

}  // namespace neuron_importance_test
}  // namespace moe
