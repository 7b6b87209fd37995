#include "moe/router/cosine_router.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace cosine_router_test {

using support::expect_invalid;

/// Identity projection; experts along (1, 0) and (3, 4); scale 2.
CosineRouter<double> example() {
  return {Matrix<double>::Identity(2, 2), Matrix<double>{{5, 0}, {3, 4}}, Vector<double>{{std::log(2.0)}}};
}

struct Pass {
  Routing<double> routing, drouting;
  CosineRouter<double>::Tape tape;
  Matrix<double> dx_TD;

  void forward(const CosineRouter<double>& router, const Batch<double>& batch) {
    routing.reset(batch, router.experts());
    router.forward(batch, routing, tape, nullptr);
  }
  CosineRouter<double> backward(const CosineRouter<double>& router, const Batch<double>& batch,
                                const Matrix<double>& dlogits_TE) {
    dx_TD.setConstant(batch.tokens(), router.width(), 100);
    drouting.reset_gradient(routing);
    drouting.logits_TE = dlogits_TE;
    CosineRouter<double> gradient = zeros_like(router);
    router.backward(batch, routing, drouting, tape, dx_TD, gradient);
    return gradient;
  }
};

void expect_close(const Matrix<double>& a, const Matrix<double>& b) {
  EXPECT_LT((a - b).cwiseAbs().maxCoeff(), 1e-13) << a << "\n\n" << b;
}

TEST(CosineRouter, LogitsAreScaledCosines) {
  Pass pass;
  pass.forward(example(), Matrix<double>{{0, 7}, {0.5, 0}});
  expect_close(pass.routing.logits_TE, Matrix<double>{{0, 1.6}, {2, 1.2}});
}

TEST(CosineRouter, TheLengthOfATokenDoesNotMatterUnlessItIsTiny) {
  Pass pass;
  pass.forward(example(), Matrix<double>{{1e6, 0}, {1e-3, 0}, {5e-5, 0}, {0, 0}});
  expect_close(pass.routing.logits_TE, Matrix<double>{{2, 1.2}, {2, 1.2}, {1, 0.6}, {0, 0}});  // below 1e-4: x / 1e-4
}

TEST(CosineRouter, TheScaleIsAtMostAHundred) {
  CosineRouter<double> router = example();
  router.log_scale(0) = 50;
  const Matrix<double> x_TD{{1, 0}};
  Pass pass;
  pass.forward(router, x_TD);
  EXPECT_NEAR(pass.routing.logits_TE(0, 0), 100, 1e-11);
  EXPECT_EQ(pass.backward(router, x_TD, Matrix<double>{{1, 1}}).log_scale(0), 0);
}

TEST(CosineRouter, GradientsRunAcrossTheDirections) {
  const Matrix<double> x_TD{{2, 0}};
  Pass pass;
  pass.forward(example(), x_TD);
  const CosineRouter<double> gradient = pass.backward(example(), x_TD, Matrix<double>{{0, 1}});
  // u = (1, 0), v = (3/5, 4/5): d logit / d u = 2 v; across u 2 (0, 4/5), over the length 2.
  expect_close(pass.dx_TD, Matrix<double>{{100, 100.8}});
  expect_close(gradient.projection_PD, Matrix<double>{{0, 0}, {1.6, 0}});
  // d logit / d v = 2 u; across v 2 (u - 3/5 v) = 2 (16/25, -12/25), over the length 5.
  expect_close(gradient.expert_EP, Matrix<double>{{0, 0}, {0.256, -0.192}});
  EXPECT_NEAR(gradient.log_scale(0), 1.2, 1e-14);  // the logit itself
}

TEST(CosineRouter, PaddingTeachesNothing) {
  const Matrix<double> x_TD{{support::nan_of<double>, 1}, {2, 0}};
  const std::vector<std::uint8_t> valid{0, 1};
  Batch<double> batch = x_TD;
  batch.valid = valid;
  Pass pass;
  pass.forward(example(), batch);
  const CosineRouter<double> gradient = pass.backward(example(), batch, Matrix<double>{{0, 0}, {0, 1}});
  expect_close(pass.dx_TD, Matrix<double>{{100, 100}, {100, 100.8}});
  expect_close(gradient.projection_PD, Matrix<double>{{0, 0}, {1.6, 0}});
  expect_close(gradient.expert_EP, Matrix<double>{{0, 0}, {0.256, -0.192}});
}

TEST(CosineRouter, StartsAtTheScaleOfItsSource) {
  std::mt19937_64 generator{1};
  const auto router = CosineRouter<double>::random(3, 8, 4, generator);
  EXPECT_EQ(router.experts(), 3);
  EXPECT_EQ(router.width(), 8);
  EXPECT_NEAR(std::exp(router.log_scale(0)), 1 / 0.07, 1e-12);
  EXPECT_NO_THROW(router.check());
}

TEST(CosineRouter, SizesThatDoNotFitAreRefused) {
  std::mt19937_64 generator{1};
  expect_invalid([&] { CosineRouter<double>::random(3, 0, 4, generator); }, {"3 experts", "width 0", "to 4"});
  CosineRouter<double> router = example();
  router.expert_EP.setZero(2, 3);
  expect_invalid([&] { router.check(); }, {"projection is 2 x 2", "experts 2 x 3"});
  router = example();
  router.log_scale.resize(0);
  expect_invalid([&] { router.check(); }, {"log_scale has 0 entries"});
}

}  // namespace cosine_router_test
}  // namespace moe
