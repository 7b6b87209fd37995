#include "moe/router/router.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace router_test {

using support::expect_invalid;

const Matrix<float> x_TD{{1, 2}, {3, 4}};

Router<float> example() { return {.weight_ED = Matrix<float>{{1, 0}, {0, 1}, {1, -1}}}; }

struct Pass {
  Routing<float> routing, drouting;
  Router<float>::Tape tape;
  Matrix<float> dx_TD = Matrix<float>::Zero(2, 2);

  void forward(const Router<float>& router, const Batch<float>& batch, Random* random = nullptr) {
    routing.reset(batch, router.experts());
    router.forward(batch, routing, tape, random);
  }
  Router<float> backward(const Router<float>& router, const Batch<float>& batch, const Matrix<float>& dlogits_TE) {
    drouting.reset_gradient(routing);
    drouting.logits_TE = dlogits_TE;
    Router<float> gradient = zeros_like(router);
    router.backward(batch, routing, drouting, tape, dx_TD, gradient);
    return gradient;
  }
};

TEST(Router, LogitsAreTheProjection) {
  Pass pass;
  pass.forward(example(), x_TD);
  EXPECT_EQ(pass.routing.logits_TE, (Matrix<float>{{1, 2, -1}, {3, 4, -1}}));
}

TEST(Router, ABiasIsAdded) {
  Router<float> router = example();
  router.bias_E = Vector<float>{{10, 20, 30}};
  Pass pass;
  pass.forward(router, x_TD);
  EXPECT_EQ(pass.routing.logits_TE, (Matrix<float>{{11, 22, 29}, {13, 24, 29}}));
}

TEST(Router, BackwardAddsToTheInputsAndTheWeightsGradient) {
  Router<float> router = example();
  router.bias_E.setZero(3);
  Pass pass;
  pass.forward(router, x_TD);
  pass.dx_TD.setConstant(100);
  const Router<float> gradient = pass.backward(router, x_TD, Matrix<float>{{1, 0, 2}, {0, 1, 0}});
  // dw = dlogits' x: row 0 = x0, row 1 = x1, row 2 = 2 x0. dx0 = w0 + 2 w2, dx1 = w1.
  EXPECT_EQ(gradient.weight_ED, (Matrix<float>{{1, 2}, {3, 4}, {2, 4}}));
  EXPECT_EQ(gradient.bias_E, (Vector<float>{{1, 1, 2}}));
  EXPECT_EQ(pass.dx_TD, (Matrix<float>{{103, 98}, {100, 101}}));
}

TEST(Router, JitterMultipliesTheInputInTraining) {
  Router<float> router = example();
  router.jitter = 0.5;
  // Factors 1 - 0.5 + 2 * 0.5 * u = 0.5, 1, 1.25, 0.75.
  Random random = Random::recorded({0, 0.5, 0.75, 0.25});
  Pass pass;
  pass.forward(router, x_TD, &random);
  // x times factors: 0.5 2; 3.75 3.
  EXPECT_EQ(pass.routing.logits_TE, (Matrix<float>{{0.5f, 2, -1.5f}, {3.75f, 3, 0.75f}}));
}

TEST(Router, JitterIsPartOfTheGradient) {
  Router<float> router = example();
  router.jitter = 0.5;
  Random random = Random::recorded({0, 0.5, 0.75, 0.25});
  Pass pass;
  pass.forward(router, x_TD, &random);
  const Router<float> gradient = pass.backward(router, x_TD, Matrix<float>{{1, 0, 0}, {0, 1, 1}});
  EXPECT_EQ(gradient.weight_ED, (Matrix<float>{{0.5f, 2}, {3.75f, 3}, {3.75f, 3}}));
  // Before the factors: dx0 = w0 = 1 0, dx1 = w1 + w2 = 1 0.
  EXPECT_EQ(pass.dx_TD, (Matrix<float>{{0.5f, 0}, {1.25f, 0}}));
}

TEST(Router, ASecondBackwardPassOfTheSameTapeGivesTheSame) {
  Router<float> router = example();
  router.jitter = 0.5;
  Random random(1);
  Pass pass;
  pass.forward(router, x_TD, &random);
  const Matrix<float> dlogits_TE{{1, 0, 3}, {0, -1, 2}};
  const Router<float> first = pass.backward(router, x_TD, dlogits_TE);
  const Matrix<float> dx_TD = pass.dx_TD;
  pass.dx_TD.setZero();
  EXPECT_TRUE(support::same_parameters(pass.backward(router, x_TD, dlogits_TE), first));
  EXPECT_TRUE(support::same_bits(pass.dx_TD, dx_TD));
}

TEST(Router, WithoutAGeneratorThereIsNoJitter) {
  Router<float> router = example();
  router.jitter = 0.5;
  Pass pass;
  pass.forward(router, x_TD);
  EXPECT_EQ(pass.routing.logits_TE, (Matrix<float>{{1, 2, -1}, {3, 4, -1}}));
}

TEST(Router, NoJitterDrawsNothing) {
  Random random = Random::recorded({});
  Pass pass, without;
  pass.forward(example(), x_TD, &random);
  without.forward(example(), x_TD);
  EXPECT_EQ(pass.routing.logits_TE, without.routing.logits_TE);
}

TEST(Router, ABiasOfOneExpertIsShown) {
  Router<float> router{Matrix<float>::Ones(1, 1)};
  EXPECT_EQ(parameter_count(router), 1);
  router.bias_E.setZero(1);
  EXPECT_EQ(parameter_count(router), 2);
}

TEST(Router, PaddingDrawsNoJitterAndTeachesNothing) {
  Router<float> router = example();
  router.jitter = 0.5;
  Matrix<float> padded = x_TD;
  padded.row(0).setConstant(support::nan_of<float>);
  const std::vector<std::uint8_t> valid{0, 1};
  Batch<float> batch = padded;
  batch.valid = valid;
  Random random = Random::recorded({0.5, 0.5});
  Pass pass;
  pass.forward(router, batch, &random);
  EXPECT_EQ(pass.routing.logits_TE.row(1), (Matrix<float>{{3, 4, -1}}));
  const Router<float> gradient = pass.backward(router, batch, Matrix<float>{{0, 0, 0}, {1, 0, 0}});
  EXPECT_EQ(gradient.weight_ED, (Matrix<float>{{3, 4}, {0, 0}, {0, 0}}));
  EXPECT_EQ(pass.dx_TD, (Matrix<float>{{0, 0}, {1, 0}}));
}

TEST(Router, RandomWeightsHaveTheStandardDeviationOfTheirWidth) {
  std::mt19937_64 generator{1};
  const auto router = Router<double>::random(50, 100, generator);
  EXPECT_NEAR(router.weight_ED.squaredNorm() / 5000, 1.0 / 100, 5 * std::sqrt(2.0 / 5000) / 100);
  EXPECT_EQ(router.bias_E.size(), 0);
}

TEST(Router, SizesBelowOneAreRefused) {
  expect_invalid([] { Router<float>::zeros(0, 4); }, {"0 experts", "width 4"});
  expect_invalid([] { Router<float>::zeros(4, 0); }, {"4 experts", "width 0"});
  expect_invalid([] { Router<float>::zeros(-1, 4); }, {"-1 experts"});
  expect_invalid([] { Router<float>{}.check(); }, {"0 x 0"});
}

TEST(Router, ABiasOfAnotherLengthIsRefused) {
  Router<float> router = example();
  router.bias_E.setZero(2);
  expect_invalid([&] { router.check(); }, {"2 entries for 3 experts"});
}

TEST(Router, JitterOutsideItsIntervalIsRefused) {
  Router<float> router = example();
  for (const double jitter : {-0.1, 1.0, support::nan_of<double>}) {
    router.jitter = jitter;
    expect_invalid([&] { router.check(); }, {"jitter is", "[0, 1)"});
  }
}

}  // namespace router_test
}  // namespace moe
