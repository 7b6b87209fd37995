#include "moe/surgery/neuron_importance.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace {

using support::expect_invalid;

Mlp<double> network() { return {.w1_FD = Matrix<double>{{1, 2}, {3, 4}}, .w2_DF = Matrix<double>{{5, 6}, {7, 8}}}; }

Mlp<double> gradient() { return {.w1_FD = Matrix<double>{{1, 1}, {1, 0}}, .w2_DF = Matrix<double>{{-2, 0}, {0, 1}}}; }

TEST(NeuronImportance, IsTheAbsoluteProductOfWeightsAndGradients) {
  Vector<double> importance_F;
  add_neuron_importance(network(), gradient(), importance_F);
  EXPECT_EQ(importance_F, (Vector<double>{{7, 11}}));  // |1 + 2 - 10|, |3 + 8|
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
}

TEST(OrderByImportance, FallsAndKeepsTheOrderOfEquals) {
  EXPECT_EQ(order_by_importance(Vector<double>{{1, 3, 2, 3}}), (std::vector<Index>{1, 3, 2, 0}));
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
  expect_invalid([&] { split_by_importance(order, 5, 0, 3); }, {"5 units cannot give 5 experts 3 each, 0 of them"});
  expect_invalid([&] { split_by_importance(order, 0, 0, 1); }, {"0 experts"});
  expect_invalid([&] { split_by_importance(order, 1, 2, 1); }, {"2 of them shared"});
}

}  // namespace
}  // namespace moe
