#include "moe/expert/linear.hpp"

#include <gtest/gtest.h>

#include <random>

#include "expert/pass.hpp"
#include "moe/core/parameters.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace linear_test {

using support::expect_invalid;

const Linear<float> example{Matrix<float>{{1, 0}, {0, 2}, {1, 1}}, Vector<float>{{1, 0, -1}}};
const Matrix<float> x{{1, 2}, {3, 4}}, dy{{1, 1, 0}, {0, 0, 2}};

TEST(LinearExpert, MapsRowsByWeightAndBias) {
  EXPECT_EQ(expert::Pass(example, x, dy).y, (Matrix<float>{{2, 4, 2}, {4, 8, 6}}));
}

TEST(LinearExpert, BackwardGivesAllThreeGradients) {
  const expert::Pass pass(example, x, dy);
  EXPECT_EQ(pass.dx, (Matrix<float>{{1, 2}, {2, 2}}));
  EXPECT_EQ(pass.gradient.weight_OD, (Matrix<float>{{1, 2}, {1, 2}, {6, 8}}));
  EXPECT_EQ(pass.gradient.bias_O, (Vector<float>{{1, 1, 2}}));
}

TEST(LinearExpert, TheGradientIsAddedToWhatIsThere) {
  expert::Pass pass(example, x, dy);
  const auto once = flatten(pass.gradient);
  example.backward(x, dy, pass.tape, pass.dx, pass.gradient);
  EXPECT_EQ(flatten(pass.gradient), 2 * once);
}

TEST(LinearExpert, NeedsNoBias) {
  const Linear<float> plain{example.weight_OD};
  const expert::Pass pass(plain, x, dy);
  EXPECT_EQ(pass.y, (Matrix<float>{{1, 4, 3}, {3, 8, 7}}));
  EXPECT_EQ(parameter_count(pass.gradient), 6);
}

TEST(LinearExpert, MayBeNarrowerThanItsInput) { EXPECT_EQ(example.output_width(), 3); }

TEST(LinearExpert, RandomWeightsHaveTheStandardDeviationOfTheirInputs) {
  std::mt19937_64 generator{1};
  const auto random = Linear<double>::random(100, 50, generator);
  EXPECT_NEAR(random.weight_OD.squaredNorm() / 5000, 1.0 / 100, 5 * std::sqrt(2.0 / 5000) / 100);
  EXPECT_EQ(random.bias_O, Vector<double>::Zero(50));
}

TEST(LinearExpert, ShapesThatDoNotFitAreRefused) {
  expect_invalid([] { example.check(3); }, {"weight is 3 x 2", "width 3"});
  expect_invalid(
      [] {
        Linear<float>{example.weight_OD, Vector<float>::Zero(2)}.check(2);
      },
      {"2 entries for 3 outputs"});
  std::mt19937_64 generator{1};
  expect_invalid([&] { Linear<float>::random(0, 4, generator); }, {"width 0 and 4 outputs"});
  expect_invalid([&] { Linear<float>::random(4, -1, generator); }, {"-1 outputs"});
}

TEST(LinearExpert, ABiasOfOneOutputIsShown) {
  std::mt19937_64 generator{1};
  EXPECT_EQ(parameter_count(Linear<double>::random(1, 1, generator)), 2);
  EXPECT_EQ(parameter_count(Linear<double>{Matrix<double>::Ones(1, 1)}), 1);
}

TEST(LinearExpert, AGradientWithoutTheBiasIsRefused) {
  Linear<float> gradient{Matrix<float>::Zero(3, 2)};
  Linear<float>::Tape tape;
  Matrix<float> dx(2, 2);
  expect_invalid([&] { example.backward(x, dy, tape, dx, gradient); }, {"'bias' is 3 x 1", "0 x 1"});
  EXPECT_EQ(gradient.weight_OD, Matrix<float>::Zero(3, 2));
}

}  // namespace linear_test
}  // namespace moe
