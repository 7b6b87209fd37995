#include "moe/surgery/add_noise.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "moe/surgery/split_expert.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace add_noise_test {

using support::expect_invalid;
using support::same_parameters;

TEST(AddNoise, TellsClonesApartInProportion) {
  auto layer = surgery::layer_with(TopK{});
  split_expert(layer, 0, {});
  std::mt19937_64 rng(1);
  add_noise(layer.experts[3], 0.01, rng);
  const auto &clone = layer.experts[3], &expert = layer.experts[0];
  EXPECT_NE(flatten(clone), flatten(expert));
  EXPECT_LT((flatten(clone) - flatten(expert)).norm(), 0.03 * flatten(expert).norm());
  const auto kept = clone;
  add_noise(layer.experts[3], 0, rng);
  EXPECT_TRUE(same_parameters(clone, kept));
  expect_invalid([&] { add_noise(layer.experts[3], -1, rng); }, {"relative is -1"});
}

TEST(AddNoise, AddsOneNormalDrawAnEntry) {
  Router<double> router{Matrix<double>{{3, -4}, {0, 5}}, Vector<double>{{1, 7}}};
  const Router<double> before = router;
  std::mt19937_64 rng(1), same(1);
  add_noise(router, 0.5, rng);
  for (Index i = 0; i < 4; ++i)
    EXPECT_NEAR(router.weight_ED.data()[i],
                before.weight_ED.data()[i] + 0.5 * std::sqrt(12.5) * detail::random_normal(same), 1e-12);
  for (Index i = 0; i < 2; ++i)
    EXPECT_NEAR(router.bias_E(i), before.bias_E(i) + 0.5 * 5 * detail::random_normal(same), 1e-12);
}

TEST(AddNoise, LargeEntriesGetFiniteNoise) {
  auto router = Router<float>::zeros(4, 4);
  router.weight_ED.setConstant(1e20f);
  std::mt19937_64 rng(1);
  add_noise(router, 0.01, rng);
  EXPECT_TRUE(router.weight_ED.isApproxToConstant(1e20f, 0.1f));
}

}  // namespace add_noise_test
}  // namespace moe
