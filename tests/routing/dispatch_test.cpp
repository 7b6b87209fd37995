#include "moe/routing/dispatch.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace dispatch_test {

const Matrix<float> x_TD{{1, 2}, {3, 4}, {5, 6}};

/// Token 0 to experts 1 and 0 with weights 2 and 3, token 2 to expert 1 with weight 4, token 1 to none: slots 0 (token
/// 0, expert 0), 1 (token 0, expert 1), 2 (token 2, expert 1).
Plan<float> example() {
  Routing<float> routing;
  routing.reset(x_TD, 2);
  routing.choices = {{0, 1, 2}, {2, 1, 4}, {0, 0, 3}};
  Plan<float> plan;
  plan.build(x_TD, routing, Capacity::unlimited(), false);
  return plan;
}

TEST(Dispatch, EverySlotGetsItsTokensRow) {
  Matrix<float> x_ND;
  dispatch(x_TD, example(), x_ND);
  EXPECT_EQ(x_ND, (Matrix<float>{{1, 2}, {1, 2}, {5, 6}}));
}

TEST(Dispatch, CombineAddsTheWeightedSlotsOfAToken) {
  const Matrix<float> y_NO{{1, 0}, {0, 1}, {1, 1}};
  Matrix<float> y_TO(3, 2);
  support::poison(y_TO);
  combine(y_NO, example(), y_TO);
  EXPECT_EQ(y_TO, (Matrix<float>{{3, 2}, {0, 0}, {4, 4}}));
}

TEST(Dispatch, TheAdjointOfCombineScalesRowsAndMultipliesThem) {
  const Matrix<float> y_NO{{1, 0}, {0, 1}, {1, 1}}, dy_TO{{1, 2}, {7, 8}, {3, 4}};
  Matrix<float> dy_NO;
  Vector<float> dweight_N;
  combine_backward(dy_TO, example(), y_NO, dy_NO, dweight_N);
  EXPECT_EQ(dy_NO, (Matrix<float>{{3, 6}, {2, 4}, {12, 16}}));
  EXPECT_EQ(dweight_N, (Vector<float>{{1, 2, 7}}));
}

TEST(Dispatch, TheAdjointOfDispatchAddsASlotsRowToItsToken) {
  const Matrix<float> dx_ND{{1, 2}, {10, 20}, {5, 5}};
  Matrix<float> dx_TD = Matrix<float>::Ones(3, 2);
  dispatch_backward(dx_ND, example(), dx_TD);
  EXPECT_EQ(dx_TD, (Matrix<float>{{12, 23}, {1, 1}, {6, 6}}));
}

TEST(Dispatch, TheInputsPartIsAddedToTheWeightsGradient) {
  const Matrix<float> dx_ND{{1, 2}, {10, 20}, {5, 5}};
  Vector<float> dweight_N{{100, 200, 300}};
  add_input_weight_gradient<float>(x_TD, dx_ND, example(), dweight_N);
  EXPECT_EQ(dweight_N, (Vector<float>{{105, 250, 355}}));
}

TEST(Dispatch, ExpressionsAndBlocksAreRowsToo) {
  Matrix<float> x_ND, y_TO(3, 4);
  dispatch(2 * x_TD, example(), x_ND);
  EXPECT_EQ(x_ND, (Matrix<float>{{2, 4}, {2, 4}, {10, 12}}));
  combine<float>(x_ND, example(), y_TO.middleCols(1, 2));  // the scalar may be written
  EXPECT_EQ(y_TO.middleCols(1, 2), (Matrix<float>{{10, 20}, {0, 0}, {40, 48}}));
}

TEST(Dispatch, ManyTasksMoveEveryRow) {
  const Index tokens = 3 * detail::rows_a_task + 5;
  const Matrix<float> many = support::random_matrix<float>(tokens, 2, 1);
  Routing<float> routing;
  routing.reset(many, 1);
  for (Index t = 0; t < tokens; ++t) routing.choices.push_back({t, 0, 2});
  Plan<float> plan;
  plan.build(many, routing, Capacity::unlimited(), false);
  Matrix<float> x_ND, y_TO(tokens, 2);
  dispatch(many, plan, x_ND, DefaultExecutor{});
  combine(x_ND, plan, y_TO, DefaultExecutor{});
  EXPECT_EQ(x_ND, many);
  EXPECT_EQ(y_TO, 2 * many);
}

TEST(Dispatch, AnEmptyPlanMovesNothing) {
  const Matrix<float> empty(0, 2);
  Routing<float> routing;
  routing.reset(empty, 1);
  Plan<float> plan;
  plan.build(empty, routing, Capacity::unlimited(), false);
  Matrix<float> x_ND, y_TO(0, 2);
  dispatch(empty, plan, x_ND);
  combine(x_ND, plan, y_TO);
  EXPECT_EQ(x_ND.rows(), 0);
  EXPECT_EQ(x_ND.cols(), 2);
}

TEST(Dispatch, RowsThatAreNotThoseOfThePlanAreRefused) {
  const Matrix<float> two(2, 2), three(3, 2);
  Matrix<float> out(2, 2), slots;
  Vector<float> dweight_N;
  support::expect_invalid([&] { dispatch(two, example(), slots); }, {"dispatch: 3 x 2", "2 x 2 for the tokens"});
  support::expect_invalid([&] { dispatch_backward(three, example(), out); }, {"dispatch_backward", "2 x 2"});
  support::expect_invalid([&] { combine(three, example(), out); }, {"combine: 3 x 2", "3 slots of 3 tokens"});
  support::expect_invalid([&] { combine_backward(three, example(), two, slots, dweight_N); },
                          {"combine_backward: 2 x 2 for the slots"});
}

}  // namespace dispatch_test
}  // namespace moe
