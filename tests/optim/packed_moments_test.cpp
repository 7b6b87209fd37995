#include "moe/optim/packed_moments.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "moe/moe.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace packed_moments_test {

std::vector<float> widened(const std::vector<std::uint16_t>& packed) {
  std::vector<float> wide(packed.size());
  detail::widen_bfloat16(packed.data(), static_cast<Index>(packed.size()), wide.data());
  return wide;
}

std::vector<float> to_nearest(const std::vector<float>& values) {
  std::vector<std::uint16_t> packed(values.size());
  detail::round_to_bfloat16(values.data(), static_cast<Index>(values.size()), packed.data());
  return widened(packed);
}

std::vector<float> at_random(const std::vector<float>& values, std::uint64_t step) {
  std::vector<std::uint16_t> packed(values.size());
  detail::round_to_bfloat16_at_random(values.data(), static_cast<Index>(values.size()), detail::rounding_key(step, 0),
                                      0, packed.data());
  return widened(packed);
}

TEST(PackedMoments, RoundingToNearestIsThatOfEigen) {
  std::mt19937_64 rng(1);
  std::vector<float> values{0.0f, -0.0f, 1.0f, 1.00390625f, 1.01171875f, 3e-40f, -2.5f};
  for (int i = 0; i < 1000; ++i) values.push_back(static_cast<float>(std::normal_distribution<>(0, 1e3)(rng)));
  const std::vector<float> rounded = to_nearest(values);
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(rounded[i], static_cast<float>(static_cast<Eigen::bfloat16>(values[i]))) << values[i];
}

TEST(PackedMoments, NumbersBeyondTheLargestBecomeThat) {
  const float largest = 0x1.FEp127f, most = (std::numeric_limits<float>::max)();
  EXPECT_EQ(to_nearest({most, -most, largest}), (std::vector<float>{largest, -largest, largest}));
  EXPECT_EQ(at_random({most, largest}, 3), (std::vector<float>{largest, largest}));
  const std::vector<double> doubles{1e300, -1e39, 2};
  std::vector<std::uint16_t> packed(3);
  detail::round_to_bfloat16(doubles.data(), 3, packed.data());
  EXPECT_EQ(widened(packed), (std::vector<float>{largest, -largest, 2}));
}

TEST(PackedMoments, RoundingAtRandomIsRightInTheMean) {
  const std::vector<float> values(20000, 1 + 0.3f / 128);  // 0.3 of the way to the next bfloat16
  const std::vector<float> rounded = at_random(values, 7);
  double mean = 0;
  for (const float one : rounded) {
    EXPECT_TRUE(one == 1 || one == 1 + 1.0f / 128);
    mean += static_cast<double>(one - 1) * 128 / 20000;
  }
  EXPECT_NEAR(mean, 0.3, 0.012);  // 3.7 standard deviations
  EXPECT_NE(rounded, at_random(values, 8));
  EXPECT_EQ(rounded, at_random(values, 7));
}

TEST(PackedMoments, RoundingAtRandomKeepsWhatABfloat16IsAndNeverOverflows) {
  const float most = std::numeric_limits<float>::max();
  const std::vector<float> exact{0, 1, 0.5f, 1.0078125f, std::ldexp(1.9921875f, 127)};
  for (std::uint64_t step = 0; step < 100; ++step) {
    EXPECT_EQ(at_random(exact, step), exact);
    EXPECT_LT(at_random({most}, step)[0], std::numeric_limits<float>::infinity());
  }
}

using SomeLayer = Layer<Router<float>, TopK, Mlp<float>>;
using Adam = AdamW<SomeLayer>;
constexpr AdamWOptions packed_options{.learning_rate = 1e-2, .moments = MomentFormat::bfloat16};

SomeLayer random_layer(std::uint64_t seed, double stddev = 0.5) {
  std::mt19937_64 rng(seed);
  return support::randomized(SomeLayer{support::random_router<float>(3, 20, rng), TopK{.k = 2},
                                       support::random_experts<Mlp<float>>(3, 20, 37, rng)},
                             rng, stddev);
}

/// Largest error of b's entries, of a's size.
double relative_error(const Vector<double>& a, const Vector<double>& b) {
  return ((a - b).array().abs() / a.array().abs().max(1e-30)).maxCoeff();
}

TEST(PackedMoments, OneStepIsThatOfFloatAndItsMomentsAreRounded) {
  SomeLayer layer = random_layer(1), other = layer;
  const SomeLayer gradient = random_layer(2);
  Adam packed{layer, packed_options}, plain{other, {.learning_rate = 1e-2}};
  ASSERT_TRUE(packed.step(layer, gradient) && plain.step(other, gradient));
  EXPECT_EQ(flatten(layer), flatten(other));  // the moments were exactly zero before
  auto [mean, square] = packed.moments();
  auto [plain_mean, plain_square] = plain.moments();
  EXPECT_LE(relative_error(flatten(plain_mean), flatten(mean)), 1.0 / 256);
  EXPECT_LE(relative_error(flatten(plain_square), flatten(square)), 1.0 / 128);
  EXPECT_GT(relative_error(flatten(plain_square), flatten(square)), 1e-4);
  const Vector<double> before = flatten(other);
  ASSERT_TRUE(packed.step(layer, gradient) && plain.step(other, gradient));
  const Vector<double> step = flatten(other) - before, error = flatten(layer) - flatten(other);
  EXPECT_LE((error.array() / step.array()).abs().maxCoeff(), 0.01);
}

TEST(PackedMoments, TheSecondMomentDoesNotStall) {
  SomeLayer layer = random_layer(1);
  Adam adam{layer, packed_options};
  const SomeLayer large = random_layer(2, 1), small = random_layer(2, 1e-4);
  ASSERT_TRUE(adam.step(layer, large));
  const auto mean_square = [&] { return flatten(std::get<1>(adam.moments())).mean(); };
  const double start = mean_square();
  for (int step = 0; step < 2000; ++step) ASSERT_TRUE(adam.step(layer, small));
  EXPECT_NEAR(mean_square() / (start * std::pow(0.999, 2000)), 1, 0.1);  // to nearest it would not change at all
}

TEST(PackedMoments, FrozenEntriesKeepTheirBits) {
  SomeLayer layer = random_layer(1);
  Adam adam{layer, packed_options};
  ASSERT_TRUE(adam.step(layer, random_layer(2)));
  const SomeLayer before = layer, square_before = std::get<1>(adam.moments());
  adam.frozen = {"router.weight.1", "experts.2"};
  for (int step = 0; step < 3; ++step) ASSERT_TRUE(adam.step(layer, random_layer(3)));
  auto [mean, square] = adam.moments();
  EXPECT_EQ(layer.router.weight_ED.row(1), before.router.weight_ED.row(1));
  EXPECT_EQ(square.router.weight_ED.row(1), square_before.router.weight_ED.row(1));
  EXPECT_NE(square.router.weight_ED.row(0), square_before.router.weight_ED.row(0));
  EXPECT_TRUE(support::same_parameters(square.experts[2], square_before.experts[2]));
}

/// Whether the optimiser is looked at, copied or taken up again after two steps makes no difference.
TEST(PackedMoments, LookingAtThemChangesNothing) {
  SomeLayer layer = random_layer(1), other = layer;
  Adam adam{layer, packed_options}, looked_at = adam;
  for (int step = 0; step < 4; ++step) {
    const Adam& constant = looked_at;
    EXPECT_EQ(flatten(constant), flatten(Adam(adam)));
    if (step == 2) {
      Adam loaded{other, packed_options};
      unflatten(flatten(constant), loaded);
      loaded.steps = constant.steps;
      looked_at = loaded;
    }
    ASSERT_TRUE(adam.step(layer, random_layer(5)) && looked_at.step(other, random_layer(5)));
    EXPECT_EQ(flatten(layer), flatten(other));
  }
}

TEST(PackedMoments, FollowSurgery) {
  SomeLayer layer = random_layer(1);
  Adam adam{layer, packed_options};
  ASSERT_TRUE(adam.step(layer, random_layer(2)));
  const SomeLayer square = std::get<1>(adam.moments());
  remove_expert(layer, 0, adam);
  EXPECT_TRUE(support::same_parameters(std::get<1>(adam.moments()).experts[0], square.experts[1]));
  EXPECT_TRUE(adam.step(layer, zeros_like(layer)));
  EXPECT_EQ(parameter_count(std::get<0>(adam.moments())), parameter_count(layer));
}

TEST(PackedMoments, OlderMomentsAreNamed) {
  SomeLayer layer = random_layer(1);
  Adam adam{layer, packed_options};
  remove_expert(layer, 0);
  try {
    (void)adam.step(layer, zeros_like(layer));
    ADD_FAILURE();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("the moments are older than the model"), std::string::npos);
  }
}

TEST(PackedMoments, TheFormatMayChangeBetweenSteps) {
  SomeLayer layer = random_layer(1), other = layer;
  Adam adam{layer, packed_options}, plain{other, {.learning_rate = 1e-2}};
  for (int step = 0; step < 6; ++step) {
    adam.options.moments = step % 2 == 0 ? MomentFormat::bfloat16 : MomentFormat::same;
    ASSERT_TRUE(adam.step(layer, random_layer(6)) && plain.step(other, random_layer(6)));
  }
  EXPECT_TRUE(flatten(layer).isApprox(flatten(other), 1e-3));
}

TEST(PackedMoments, ARefusedStepChangesNoMoment) {
  SomeLayer layer = random_layer(1);
  Adam adam{layer, {}};
  ASSERT_TRUE(adam.step(layer, random_layer(2)));
  const Vector<double> before = flatten(adam);
  adam.options.moments = MomentFormat::bfloat16;
  SomeLayer bad = random_layer(3);
  bad.router.weight_ED(0, 0) = support::nan_of<float>;
  EXPECT_FALSE(adam.step(layer, bad));
  EXPECT_EQ(flatten(adam), before);
}

}  // namespace packed_moments_test
}  // namespace moe
