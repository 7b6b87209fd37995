#include "moe/gating/base_assignment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "gating/route.hpp"

namespace moe {
namespace base_assignment_test {

double total(const std::vector<Index>& experts, const Matrix<double>& z) {
  double sum = 0;
  for (std::size_t t = 0; t < experts.size(); ++t) sum += z(static_cast<Index>(t), experts[t]);
  return sum;
}

// Six tokens, three experts: of all 90 even assignments none is better by more than T * step.
TEST(BaseAssignment, IsEvenAndNearlyTheBest) {
  std::mt19937_64 rng(3);
  for (int round = 0; round < 50; ++round) {
    const Matrix<double> z = random_matrix<double>(6, 3, rng);
    Random random(1);
    const auto chosen = gating::experts_of(gating::route(BaseAssignment{}, z, {}, 0, &random));
    for (Index e = 0; e < 3; ++e) EXPECT_EQ(std::count(chosen.begin(), chosen.end(), e), 2);
    std::vector<Index> some{0, 0, 1, 1, 2, 2};
    double best = total(some, z);
    while (std::next_permutation(some.begin(), some.end())) best = (std::max)(best, total(some, z));
    const double step = (std::max)(1e-4, .02 * (z.maxCoeff() - z.minCoeff()));
    EXPECT_GE(total(chosen, z), best - 6 * step);
  }
}

TEST(BaseAssignment, TheFirstExpertsTakeWhatDoesNotDivide) {
  Random random(1);
  const auto chosen =
      gating::experts_of(gating::route(BaseAssignment{}, Matrix<double>(Matrix<double>::Zero(5, 3)), {}, 0, &random));
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 0), 2);
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 1), 2);
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 2), 1);
}

TEST(BaseAssignment, FewerTokensThanExpertsAndNoneAtAll) {
  Random random(1);
  const Matrix<double> z{{0, 0, 9}};
  EXPECT_EQ(gating::experts_of(gating::route(BaseAssignment{}, z, {}, 0, &random)), (std::vector<Index>{0}));
  EXPECT_TRUE(gating::route(BaseAssignment{}, Matrix<double>(0, 3), {}, 0, &random).choices.empty());
}

TEST(BaseAssignment, LogitsThatAreNotFiniteStillGetAnExpertEach) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  const Matrix<double> z{{nan, nan}, {infinite, 1}, {-infinite, 2}, {0, 3}};
  Random random(1);
  const auto chosen = gating::experts_of(gating::route(BaseAssignment{}, z, {}, 0, &random));
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 0), 2);
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 1), 2);
}

TEST(BaseAssignment, EndsAlsoWhereLogitsAreHugeAndEqual) {
  const Matrix<float> z = Matrix<float>::Constant(4, 2, 1e12f);
  Random random(1);
  const auto chosen = gating::experts_of(gating::route(BaseAssignment{}, z, {}, 0, &random));
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 0), 2);
}

TEST(BaseAssignment, InEvaluationEachTokenGoesToItsBest) {
  const Matrix<double> z{{0, 1}, {0, 2}};
  const auto routing = gating::route(BaseAssignment{}, z);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1, 1}));
  EXPECT_NEAR(routing.choices[0].weight, 1 / (1 + std::exp(-1.)), 1e-15);
}

}  // namespace base_assignment_test
}  // namespace moe
