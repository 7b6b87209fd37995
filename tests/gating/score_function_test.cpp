#include "moe/gating/score_function.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace score_function_test {

using detail::ScoreFunction;

constexpr ScoreFunction functions[] = {ScoreFunction::softmax, ScoreFunction::sigmoid, ScoreFunction::sqrt_softplus};

Vector<double> logs(ScoreFunction function, const Vector<double>& logits) {
  Vector<double> out(logits.size());
  detail::log_score_row(function, logits.data(), logits.size(), out.data());
  return out;
}

TEST(ScoreFunction, LogarithmsOfTheFormulas) {
  const Vector<double> z{{-1, 0, 2}};
  const double sum = std::exp(-1.) + 1 + std::exp(2.);
  for (Index e = 0; e < 3; ++e) {
    EXPECT_NEAR(logs(ScoreFunction::softmax, z)(e), z(e) - std::log(sum), 1e-14);
    EXPECT_NEAR(logs(ScoreFunction::sigmoid, z)(e), -std::log1p(std::exp(-z(e))), 1e-14);
    EXPECT_NEAR(logs(ScoreFunction::sqrt_softplus, z)(e), std::log(std::log1p(std::exp(z(e)))) / 2, 1e-14);
  }
}

TEST(ScoreFunction, LogarithmsOfFiniteLogitsAreFinite) {
  const Vector<double> z{{-800, 700}};  // the scores themselves are 0 and, of softmax, 1
  for (const ScoreFunction function : functions) EXPECT_TRUE(logs(function, z).allFinite());
  EXPECT_NEAR(logs(ScoreFunction::softmax, z)(0), -1500, 1e-9);
  EXPECT_NEAR(logs(ScoreFunction::sigmoid, z)(0), -800, 1e-9);
  EXPECT_NEAR(logs(ScoreFunction::sqrt_softplus, z)(0), -400, 1e-9);
}

TEST(ScoreFunction, InfiniteLogitsShareTheSoftmax) {
  const double infinity = support::infinity_of<double>;
  const Vector<double> own = logs(ScoreFunction::softmax, Vector<double>{{infinity, 0, infinity}});
  EXPECT_NEAR(own(0), std::log(0.5), 1e-15);
  EXPECT_NEAR(own(2), std::log(0.5), 1e-15);
  EXPECT_EQ(own(1), -infinity);
}

TEST(ScoreFunction, TheGradientIsThatOfDifferencesAndIsAdded) {
  const Vector<double> z{{-1, 0.5, 2}}, dlogs{{1, -2, 0.5}};
  for (const ScoreFunction function : functions) {
    const Vector<double> p = z.array().exp() / z.array().exp().sum();
    Vector<double> dz = Vector<double>::Ones(3);
    detail::log_score_row_backward(function, z.data(), p.data(), dlogs.data(), 3, dz.data());
    const double step = 1e-6;
    for (Index e = 0; e < 3; ++e) {
      Vector<double> more = z, less = z;
      more(e) += step, less(e) -= step;
      const double slope = (logs(function, more) - logs(function, less)).dot(dlogs) / (2 * step);
      EXPECT_NEAR(dz(e), 1 + slope, 1e-8);
    }
  }
}

TEST(ScoreFunction, WhereSoftplusVanishesItsLogarithmHasASlopeOfOneHalf) {
  const Vector<double> z{{-900}}, one{{1}};
  Vector<double> dz = Vector<double>::Zero(1);
  detail::log_score_row_backward(ScoreFunction::sqrt_softplus, z.data(), one.data(), one.data(), 1, dz.data());
  EXPECT_EQ(dz(0), 0.5);
}

TEST(ScoreFunction, PowersThatAreTooSmallAreZero) {
  Vector<float> row{{-88, -200, 0}};
  detail::exp_row(row.data(), 3, row.data());
  EXPECT_EQ(row(1), 0);
  EXPECT_EQ(row(2), 1);
  EXPECT_EQ(row(0), 0);  // below the smallest normal number
}

}  // namespace score_function_test
}  // namespace moe
