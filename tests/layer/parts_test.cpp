#include "moe/layer/parts.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "moe/expert/linear.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace parts_test {

using support::expect_invalid;

auto layer() {
  std::mt19937_64 rng(1);
  return Layer{Router<double>::random(2, 3, rng), TopK{.k = 2}, make_experts<Linear<double>>(2, 3, 3, rng)};
}

TEST(LayerParts, ThatDoNotFitAreRefusedWheneverALayerIsChecked) {
  std::mt19937_64 rng(1);
  auto one = layer();
  one.experts.pop_back();
  expect_invalid([&] { one.check(); }, {"1 experts, the router scores 2"});
  one = layer();
  one.gate.k = 3;
  expect_invalid([&] { one.check(); }, {"3", "2"});
  one = layer();
  one.experts[1] = Linear<double>::random(3, 4, rng);
  expect_invalid([&] { one.check(); }, {"outputs have 3 and 4 columns"});
  one = layer();
  expect_invalid([&] { one.check(4); }, {"width 4", "width 3"});
  one.dispatching.pass_dropped = true;
  for (auto& expert : one.experts) expert = Linear<double>::random(3, 4, rng);
  expect_invalid([&] { one.check(); }, {"pass_dropped", "4 and 3"});
}

TEST(LayerParts, AGradientIsAnotherLayerOfTheSameShapes) {
  const auto one = layer();
  auto gradient = zeros_like(one);
  EXPECT_NO_THROW(one.check_gradient(gradient));
  expect_invalid([&] { one.check_gradient(one); }, {"the layer itself"});
  gradient.experts.pop_back();
  expect_invalid([&] { one.check_gradient(gradient); }, {"the gradient's experts are 1, the layer has 2"});
}

}  // namespace parts_test
}  // namespace moe
