#include "moe/expert/glu.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string_view>

#include "expert/pass.hpp"
#include "moe/core/parameters.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace glu_test {

using support::expect_invalid;

const ReGlu<float> example{Matrix<float>{{1, 1}, {1, -1}}, Matrix<float>{{2, 0}, {0, 1}},
                           Matrix<float>{{1, 1}, {0, 1}}};
const Matrix<float> x{{1, 2}, {3, 1}}, dy{{1, 0}, {1, 1}};

TEST(Glu, TheGateMultipliesTheUpProjection) {
  // Gate 3 -1; 4 2, after relu 3 0; 4 2. Up 2 2; 6 1. Hidden 6 0; 24 2.
  EXPECT_EQ(expert::Pass(example, x, dy).y, (Matrix<float>{{6, 0}, {26, 2}}));
}

TEST(Glu, BackwardIsTheChainRule) {
  const expert::Pass pass(example, x, dy);
  // d hidden = dy w2 = 1 1; 1 2. d up = that times relu(gate) = 3 0; 4 4. d gate = that times up where gate > 0
  // = 2 0; 6 2. dx = dgate w1 + dup w3.
  EXPECT_EQ(pass.dx, (Matrix<float>{{2 + 6, 2 + 0}, {8 + 8, 4 + 4}}));
  EXPECT_EQ(pass.gradient.w1_FD, (Matrix<float>{{20, 10}, {6, 2}}));
  EXPECT_EQ(pass.gradient.w3_FD, (Matrix<float>{{15, 10}, {12, 4}}));
  EXPECT_EQ(pass.gradient.w2_DF, (Matrix<float>{{30, 2}, {24, 2}}));
}

TEST(Glu, BiasesAreAddedOnAllThreeProjections) {
  ReGlu<float> expert = example;
  expert.b1_F = Vector<float>{{0, 2}};
  expert.b3_F = Vector<float>{{1, 0}};
  expert.b2_D = Vector<float>{{10, 20}};
  const expert::Pass pass(expert, x, dy);
  // Gate 3 1; 4 4. Up 3 2; 7 1. Hidden 9 2; 28 4.
  EXPECT_EQ(pass.y, (Matrix<float>{{21, 22}, {42, 24}}));
  EXPECT_EQ(pass.gradient.b2_D, (Vector<float>{{2, 1}}));
  EXPECT_EQ(pass.gradient.b3_F, (Vector<float>{{3 + 4, 1 + 8}}));  // d hidden times gate
  EXPECT_EQ(pass.gradient.b1_F, (Vector<float>{{3 + 7, 2 + 2}}));  // d hidden times up
}

TEST(Glu, SwiGluGatesBySilu) {
  const SwiGlu<double> expert{Matrix<double>{{1}}, Matrix<double>{{3}}, Matrix<double>{{2}}};
  EXPECT_NEAR(expert::Pass(expert, Matrix<double>{{1}}, Matrix<double>{{1}}).y(0, 0), 6 / (1 + std::exp(-1.0)), 1e-15);
}

TEST(Glu, GeGluGatesByGelu) {
  const GeGlu<double> expert{Matrix<double>{{1}}, Matrix<double>{{3}}, Matrix<double>{{2}}};
  EXPECT_NEAR(expert::Pass(expert, Matrix<double>{{1}}, Matrix<double>{{1}}).y(0, 0),
              6 * 0.5 * std::erfc(-1 / std::sqrt(2.0)), 1e-14);
}

TEST(Glu, TheBilinearFormHasNoActivation) {
  const BilinearGlu<float> expert{example.w1_FD, example.w3_FD, example.w2_DF};
  // Gate 3 -1; 4 2. Up 2 2; 6 1. Hidden 6 -2; 24 2.
  const expert::Pass pass(expert, x, dy);
  EXPECT_EQ(pass.y, (Matrix<float>{{4, -2}, {26, 2}}));
  // d hidden = 1 1; 1 2. d gate = 2 2; 6 2. d up = 3 -1; 4 4.
  EXPECT_EQ(pass.dx, (Matrix<float>{{4 + 6, 0 - 1}, {8 + 8, 4 + 4}}));
}

// A gate form of one's own, with a setting: hidden = gate + share * up.
struct Weighted {
  double share = 1;
  template <class S>
  Chunk<S> value(const Chunk<S>& gate, const Chunk<S>& up) const {
    return gate + S(share) * up;
  }
  template <class S>
  Chunk<S> gate_derivative(const Chunk<S>&, const Chunk<S>&) const {
    return S(1);
  }
  template <class S>
  Chunk<S> up_derivative(const Chunk<S>&, const Chunk<S>&) const {
    return S(share);
  }
};

TEST(Glu, AGateFormOfOnesOwnMayHaveSettings) {
  Glu<float, Weighted> expert{example.w1_FD, example.w3_FD, example.w2_DF};
  expert.activation.share = 2;
  const expert::Pass pass(expert, x, dy);
  // Gate 3 -1; 4 2. Up 2 2; 6 1. Hidden 7 3; 16 4. d hidden = 1 1; 1 2.
  EXPECT_EQ(pass.y, (Matrix<float>{{10, 3}, {20, 4}}));
  EXPECT_EQ(pass.dx, (Matrix<float>{{2 + 4, 0 + 2}, {3 + 4, -1 + 4}}));
}

TEST(Glu, RandomWeightsFollowTheScaleAndTheirInputs) {
  std::mt19937_64 generator{1};
  const auto random = SwiGlu<double>::random(40, 100, generator, {.bias = true, .scale = 0.1});
  EXPECT_NEAR(random.w1_FD.squaredNorm() / 4000 * 40, 0.1, 5 * std::sqrt(2.0 / 4000) * 0.1);
  EXPECT_NEAR(random.w3_FD.squaredNorm() / 4000 * 40, 0.1, 5 * std::sqrt(2.0 / 4000) * 0.1);
  EXPECT_NEAR(random.w2_DF.squaredNorm() / 4000 * 100, 0.1, 5 * std::sqrt(2.0 / 4000) * 0.1);
  EXPECT_EQ(random.b1_F, Vector<double>::Zero(100));
  EXPECT_EQ(random.b3_F, Vector<double>::Zero(100));
  EXPECT_EQ(random.b2_D, Vector<double>::Zero(40));
}

TEST(Glu, TheMultiplierOfHiddenUnitsStartsAsOnes) {
  std::mt19937_64 generator{1};
  EXPECT_EQ(SwiGlu<double>::random(4, 7, generator).multiplier_F.size(), 0);
  EXPECT_EQ(GeGlu<double>::random(4, 7, generator, {.multiplier = true}).multiplier_F, Vector<double>::Ones(7));
}

// More than the sixteen hidden units that are worked on at once, with all that there may be.
TEST(Glu, GradientsOfManyUnitsAreExact) {
  std::mt19937_64 generator{1};
  auto expert = SwiGlu<double>::random(3, 21, generator, {.bias = true, .multiplier = true});
  for_each_parameter([&](std::string_view, auto& p) { detail::fill_normal(generator, 0.5, p); }, expert);
  EXPECT_TRUE(testing::check_gradients(expert, random_matrix<double>(5, 3, generator)));
}

TEST(Glu, OneUnitShowsAllThatItHas) {
  std::mt19937_64 generator{1};
  EXPECT_EQ(parameter_count(SwiGlu<double>::random(1, 1, generator)), 3);
  EXPECT_EQ(parameter_count(SwiGlu<double>::random(1, 1, generator, {.bias = true, .multiplier = true})), 7);
}

TEST(Glu, ShapesThatDoNotFitAreRefused) {
  expect_invalid([] { example.check(3); }, {"w1 has 2 and w3 2 columns", "width 3"});
  ReGlu<float> expert = example;
  expert.w3_FD.resize(5, 2);
  expect_invalid([&] { expert.check(2); }, {"2, 5 and 2, differ"});
  expert = example;
  expert.b3_F.setZero(3);
  expect_invalid([&] { expert.check(2); }, {"0 and 3 entries for 2"});
  expert = example;
  expert.b2_D.setZero(1);
  expect_invalid([&] { expert.check(2); }, {"b2 has 1 entries for 2"});
  std::mt19937_64 generator{1};
  expect_invalid([&] { SwiGlu<float>::random(0, 3, generator); }, {"width 0 and hidden width 3"});
}

TEST(Glu, RowsOfOtherShapesAreRefused) { expert::expect_rows_of_other_shapes_are_refused<SwiGlu<float>>(); }

TEST(Glu, NoHiddenUnitsLeaveTheBias) {
  auto expert = SwiGlu<float>{};
  expert.w1_FD.setZero(0, 4);
  expert.w2_DF.setZero(4, 0);
  expert.w3_FD.setZero(0, 4);
  expert.b2_D = Vector<float>{{1, 2, 3, 4}};
  Matrix<float> y(1, 4);
  SwiGlu<float>::Tape tape;
  expert.forward(Matrix<float>::Ones(1, 4), y, tape);
  EXPECT_EQ(y, (Matrix<float>{{1, 2, 3, 4}}));
}

TEST(Glu, AGradientOfOtherShapesIsRefused) {
  expert::Pass pass(example, x, dy);
  ReGlu<float> gradient = example;
  gradient.w2_DF.resize(2, 3);
  expect_invalid([&] { example.backward(x, dy, pass.tape, pass.dx, gradient); }, {"'w2' is 2 x 2", "2 x 3"});
}

}  // namespace glu_test
}  // namespace moe
