#include "moe/surgery/select_units.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

#include "moe/expert/clamped_swiglu.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace select_units_test {

using support::expect_invalid;

template <class X>
Matrix<double> output(const X& network, const Matrix<double>& x_TD) {
  Matrix<double> y_TD(x_TD.rows(), network.output_width());
  typename X::Tape tape;
  network.forward(x_TD, y_TD, tape);
  return y_TD;
}

/// What the units of a partition compute adds up to what the network computes.
template <class X>
void expect_parts_add_up(X network) {
  std::mt19937_64 rng(1);
  network = support::randomized(network, rng);
  const Matrix<double> x_TD = support::random_matrix(5, 4, rng);
  const auto parts =
      split_network(network, {{19, 0, 7}, {3, 2, 1, 4, 5, 6}, {8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}});
  Matrix<double> sum = Matrix<double>::Zero(5, 4);
  for (const X& part : parts) sum += output(part, x_TD);
  for (Index t = 0; t < 5; ++t) sum.row(t) -= 2 * network.b2_D.transpose();  // whole in each
  EXPECT_TRUE(sum.isApprox(output(network, x_TD), 1e-13));
}

TEST(SelectUnits, ThePartsOfAnMlpAddUp) {
  std::mt19937_64 rng(1);
  expect_parts_add_up(Mlp<double, Gelu>::random(4, 20, rng, {.bias = true}));
}

TEST(SelectUnits, ThePartsOfAGluAddUp) {
  std::mt19937_64 rng(1);
  auto network = SwiGlu<double>::random(4, 20, rng, {.bias = true});
  network.multiplier_F.setOnes(20);
  expect_parts_add_up(network);
}

TEST(SelectUnits, UnitsMayBeSharedAndBiasesMayMiss) {
  std::mt19937_64 rng(1);
  const auto network = Mlp<double>::random(4, 3, rng);
  const auto experts = split_network(network, {{0, 1}, {0, 2}});
  EXPECT_EQ(experts[1].b1_F.size(), 0);
  EXPECT_EQ(experts[1].w1_FD(0, 3), network.w1_FD(0, 3));
  EXPECT_EQ(experts[1].w2_DF(3, 1), network.w2_DF(3, 2));
}

TEST(SelectUnits, SettingsAreKept) {
  std::mt19937_64 rng(1);
  const ExpertOptions options{.bias = true, .dropout = 0.3};
  auto network = ClampedSwiGlu<double>::random(4, 20, rng, options, {.alpha = 1.702, .limit = 0.5, .offset = 1});
  expect_parts_add_up(network);
  EXPECT_EQ(select_units(network, {1}).dropout.rate, 0.3);
  EXPECT_EQ(select_units(Mlp<double>::random(4, 3, rng, options), {1}).dropout.rate, 0.3);
}

TEST(SelectUnits, UnitsThatAreNotThereAreRefused) {
  std::mt19937_64 rng(1);
  const auto network = Mlp<double>::random(4, 3, rng);
  expect_invalid([&] { select_units(network, {0, 3}); }, {"unit 3 of 3"});
  expect_invalid([&] { select_units(network, {}); }, {"no unit"});
  const Mlp<double> torn{.w1_FD = network.w1_FD, .w2_DF = Matrix<double>::Zero(4, 2)};
  expect_invalid([&] { select_units(torn, {2}); }, {"the hidden widths differ"});
}

}  // namespace select_units_test
}  // namespace moe
