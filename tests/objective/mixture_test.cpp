#include "moe/objective/mixture.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace mixture_test {

using support::expect_invalid;

// Token 0 goes to experts 0 and 1 with weights 1/4 and 3/4, token 1 nowhere. Outputs 1 and 3, target 2.
struct Example {
  Matrix<double> y_NO{{1}, {3}}, target_TO{{2}, {100}}, dy_NO = Matrix<double>::Zero(2, 1);
  Vector<double> dweight_N = Vector<double>::Zero(2);
  Plan<double> plan;

  Example() {
    const Matrix<double> x_TD = Matrix<double>::Zero(2, 1);
    Routing<double> routing;
    routing.reset(x_TD, 2);
    routing.choices = {{0, 0, 0.25}, {0, 1, 0.75}};
    plan.build(x_TD, routing, Capacity::unlimited(), true);
  }
  template <class L>
  double value(const L& loss) const {
    return loss.value(plan, y_NO, target_TO);
  }
  template <class L>
  void backward(const L& loss) {
    dy_NO.setZero();
    dweight_N.setZero();
    loss.backward(plan, y_NO, target_TO, 1, dy_NO, dweight_N);
  }
};

TEST(MixtureLosses, CooperativeIsTheSquaredErrorOfTheBlend) {
  Example example;  // blend 2.5, residual 0.5
  EXPECT_EQ(example.value(CooperativeLoss{}), 0.25);
  example.backward(CooperativeLoss{});
  EXPECT_EQ(example.dy_NO, (Matrix<double>{{0.25}, {0.75}}));  // 2 p 0.5
  EXPECT_EQ(example.dweight_N, (Vector<double>{{1.0, 3.0}}));  // 2 o 0.5
}

TEST(MixtureLosses, CompetitiveIsTheBlendOfTheSquaredErrors) {
  Example example;
  EXPECT_EQ(example.value(CompetitiveLoss{}), 1);
  example.backward(CompetitiveLoss{});
  EXPECT_EQ(example.dy_NO, (Matrix<double>{{-0.5}, {1.5}}));  // 2 p (o - d)
  EXPECT_EQ(example.dweight_N, (Vector<double>{{1, 1}}));
}

TEST(MixtureLosses, LikelihoodIsTheLogarithmOfTheBlend) {
  Example example;  // both experts fit equally well: sum_e p_e exp(-1/2)
  EXPECT_NEAR(example.value(MixtureNegativeLogLikelihood{}), 0.5, 1e-15);
  EXPECT_NEAR(example.value(MixtureNegativeLogLikelihood{.variance = 2}), 0.25, 1e-15);
  example.backward(MixtureNegativeLogLikelihood{});
  // Responsibilities 1/4 and 3/4: h (o - d), and -h / p.
  EXPECT_TRUE(example.dy_NO.isApprox(Matrix<double>{{-0.25}, {0.75}}, 1e-15));
  EXPECT_TRUE(example.dweight_N.isApprox(Vector<double>{{-1, -1}}, 1e-15));
  example.backward(MixtureNegativeLogLikelihood{.variance = 2});
  EXPECT_TRUE(example.dy_NO.isApprox(Matrix<double>{{-0.125}, {0.375}}, 1e-15));
}

TEST(MixtureLosses, ResponsibilitiesFollowTheFit) {
  Example example;
  example.target_TO(0, 0) = 1;  // exp(0) / 4 against exp(-2) 3 / 4
  const MixtureNegativeLogLikelihood loss;
  const Vector<double> h = loss.responsibilities(example.plan, example.y_NO, example.target_TO);
  EXPECT_NEAR(h(0), 1 / (1 + 3 * std::exp(-2.0)), 1e-15);
  EXPECT_NEAR(h.sum(), 1, 1e-15);
}

TEST(MixtureLosses, ATargetFarFromEveryExpertGivesNoUnderflow) {
  Example example;
  example.target_TO(0, 0) = 1e6;
  EXPECT_NEAR(example.value(MixtureNegativeLogLikelihood{}), std::pow(1e6 - 3, 2) / 2 - std::log(0.75), 1e-3);
  example.backward(MixtureNegativeLogLikelihood{});
  EXPECT_TRUE(example.dy_NO.allFinite());
  EXPECT_NEAR(example.dweight_N(1), -1 / 0.75, 1e-4);  // the fits are about 5e11, exact to 6e-5
}

TEST(MixtureLosses, AWeightOfZeroHasNoResponsibilityAndNoGradient) {
  Example example;
  example.plan.weight = {0, 1};
  example.backward(MixtureNegativeLogLikelihood{});
  EXPECT_EQ(example.dy_NO, (Matrix<double>{{0}, {1}}));
  EXPECT_EQ(example.dweight_N, (Vector<double>{{0, -1}}));
}

TEST(MixtureLosses, BlocksAndMapsAreTaken) {
  Example example;
  const Matrix<double> wide_NO{{1, 7}, {3, 7}};
  Matrix<double> gradient_NO = Matrix<double>::Zero(2, 3);
  const CompetitiveLoss loss;
  EXPECT_EQ(loss.value(example.plan, wide_NO.leftCols(1), Matrix<double>::Map(example.target_TO.data(), 2, 1)), 1);
  loss.backward(example.plan, wide_NO.leftCols(1), example.target_TO, 1, gradient_NO.rightCols(1), example.dweight_N);
  EXPECT_EQ(gradient_NO, (Matrix<double>{{0, 0, -0.5}, {0, 0, 1.5}}));
}

TEST(MixtureLosses, AnEmptyBatchIsWorthZero) {
  const Matrix<double> nothing(0, 1);
  Routing<double> routing;
  routing.reset(nothing, 2);
  Plan<double> plan;
  plan.build(nothing, routing, Capacity::unlimited(), true);
  EXPECT_EQ(CooperativeLoss{}.value(plan, nothing, nothing), 0);
  EXPECT_EQ(CompetitiveLoss{}.value(plan, nothing, nothing), 0);
  EXPECT_EQ(MixtureNegativeLogLikelihood{}.value(plan, nothing, nothing), 0);
}

template <class L>
void expect_shapes_are_checked(const L& loss) {
  Example wrong_target, wrong_outputs, fits;
  Matrix<double> wide_dy = Matrix<double>::Zero(2, 4);
  Vector<double> few = Vector<double>::Zero(1);
  const auto backward = [&](Matrix<double>& dy, Vector<double>& dweight) {
    loss.backward(fits.plan, fits.y_NO, fits.target_TO, 1, dy, dweight);
  };
  wrong_target.target_TO.resize(3, 1);
  wrong_outputs.y_NO.resize(3, 1);
  expect_invalid([&] { wrong_target.value(loss); }, {"target is 3 x 1", "2 x 1"});
  expect_invalid([&] { wrong_outputs.value(loss); }, {"3 rows of outputs for 2 slots"});
  expect_invalid([&] { backward(wide_dy, fits.dweight_N); }, {"gradient is 2 x 4", "2 x 1"});
  expect_invalid([&] { backward(fits.dy_NO, few); }, {"1 entries", "2 slots"});
}

TEST(MixtureLosses, ShapesThatDoNotFitAreRefused) {
  expect_shapes_are_checked(CooperativeLoss{});
  expect_shapes_are_checked(CompetitiveLoss{});
  expect_shapes_are_checked(MixtureNegativeLogLikelihood{});
}

TEST(MixtureLosses, AVarianceThatIsNotPositiveAndFiniteIsRefused) {
  for (const double variance : {0.0, -1.0, support::nan_of<double>, support::infinity_of<double>})
    expect_invalid([&] { Example().value(MixtureNegativeLogLikelihood{.variance = variance}); }, {"variance is"});
}

}  // namespace mixture_test
}  // namespace moe
