#include "moe/layer/soft_layer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace soft_layer_test {

using support::expect_invalid;
using support::nan_of;

constexpr Index tokens = 8, width = 3, slots = 4, experts = 2;

using Soft = SoftLayer<double, Mlp<double>>;

Soft soft_layer(SoftOptions options = {}, std::uint64_t seed = 1) {
  std::mt19937_64 generator{seed};
  return {random_matrix<double>(slots, width, generator),
          make_experts<Mlp<double>>(experts, width, 5, generator, ExpertOptions{.bias = true}), options};
}

Matrix<double> column(std::initializer_list<double> values) {
  return Eigen::Map<const Matrix<double>>(values.begin(), static_cast<Index>(values.size()), 1);
}

/// The gradient of the slot by differences of slots +- 1e-4 is 1.6799...
TEST(SoftLayer, WhatPaddingHoldsReachesNothing) {
  const Matrix<double> one = Matrix<double>::Ones(1, 1);
  const SoftLayer<double, Linear<double>> soft{one, {{2 * one}}};
  for (const double filling : {0.0, 5.0, nan_of<double>, support::infinity_of<double>}) {
    Batch<double> batch = column({1, filling, 3});
    batch.valid = {1, 0, 1};
    decltype(soft)::Tape tape;
    auto gradient = zeros_like(soft);
    const Matrix<double> y = soft.forward(batch, tape);
    const Matrix<double> dx = soft.backward(batch, column({1, filling, 1}), tape, gradient);
    EXPECT_NEAR(gradient.slot_PD(0, 0), 1.6799, 1e-4) << filling;
    EXPECT_EQ(y(1, 0), 0);
    EXPECT_EQ(dx(1, 0), 0);
    EXPECT_TRUE(dx.allFinite());
  }
}

/// Tokens 0, 1, 4 and 5 in groups of 4, beside groups of 2 that hold them alone and a group of padding.
TEST(SoftLayer, PaddingChangesNoBit) {
  for (const SoftOptions options : {SoftOptions{}, SoftOptions{.normalize = true}}) {
    const Soft soft = soft_layer(options);
    const Matrix<double> x = support::random_matrix<double>(4, width, 2),
                         dy = support::random_matrix<double>(4, width, 3);
    Batch<double> plain = x;
    plain.group_size = 2;
    Matrix<double> x_TD = Matrix<double>::Constant(12, width, nan_of<double>), dy_TD = x_TD;
    const std::vector<Index> places{0, 1, 4, 7};
    std::vector<std::uint8_t> valid(12, 0);
    for (std::size_t i = 0; i < places.size(); ++i) {
      x_TD.row(places[i]) = x.row(static_cast<Index>(i));
      dy_TD.row(places[i]) = dy.row(static_cast<Index>(i));
      valid[static_cast<std::size_t>(places[i])] = 1;
    }
    Batch<double> padded = x_TD;
    padded.valid = valid;
    padded.group_size = 4;
    Soft::Tape tape, padded_tape;
    Soft gradient = zeros_like(soft), padded_gradient = gradient;
    const Matrix<double> y = soft.forward(plain, tape), padded_y = soft.forward(padded, padded_tape);
    const Matrix<double> dx = soft.backward(plain, dy, tape, gradient);
    const Matrix<double> padded_dx = soft.backward(padded, dy_TD, padded_tape, padded_gradient);
    for (std::size_t i = 0; i < places.size(); ++i) {
      EXPECT_TRUE(support::same_bits(padded_y.row(places[i]), y.row(static_cast<Index>(i))));
      EXPECT_TRUE(support::same_bits(padded_dx.row(places[i]), dx.row(static_cast<Index>(i))));
    }
    EXPECT_EQ(padded_y.bottomRows(4), (Matrix<double>::Zero(4, width)));
    EXPECT_EQ(padded_dx.bottomRows(4), (Matrix<double>::Zero(4, width)));
    EXPECT_TRUE(support::same_bits(padded_gradient.slot_PD, gradient.slot_PD));
    EXPECT_TRUE(support::same_bits(padded_gradient.token_gain_D, gradient.token_gain_D));
    EXPECT_TRUE(flatten(padded_gradient).isApprox(flatten(gradient), 1e-14));
  }
}

TEST(SoftLayer, ABackwardPassOfAnotherBatchIsRefused) {
  const Soft soft = soft_layer();
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  Batch<double> batch = x_TD;
  batch.group_size = 4;
  Soft::Tape tape;
  Soft gradient = zeros_like(soft);
  expect_invalid([&] { soft.backward(batch, x_TD, tape, gradient); }, {"no forward pass"});
  soft.forward(batch, tape);
  const auto refused = [&](const Batch<double>& other, std::initializer_list<std::string_view> parts) {
    expect_invalid([&] { soft.backward(other, x_TD, tape, gradient); }, parts);
  };
  for (const Index group_size : {0, 1, 2, 8}) {
    batch.group_size = group_size;
    refused(batch, {"in the forward pass it had 2"});
  }
  batch.group_size = 4;
  batch.valid = {1, 1, 1, 1, 1, 1, 1, 0};
  refused(batch, {"token 7 is padding", "it was none"});
  soft.forward(batch, tape);
  batch.valid = {};
  refused(batch, {"token 7 is no padding", "it was"});
  batch.valid = std::vector<std::uint8_t>{1, 1};
  refused(batch, {"2 entries for 8 tokens"});
  refused(x_TD.topRows(4), {"8 tokens", "has 4"});
  refused(Matrix<double>(tokens, 2), {"width 3", "width 2"});
  EXPECT_EQ(flatten(gradient).squaredNorm(), 0);
}

TEST(SoftLayer, ATapeOfAnotherLayerIsRefused) {
  const Soft soft = soft_layer(), copy = soft, other = soft_layer({}, 2);
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  Soft::Tape tape;
  Soft gradient = zeros_like(soft);
  soft.forward(x_TD, tape);
  for (const Soft* another : {&copy, &other})
    expect_invalid([&] { another->backward(x_TD, x_TD, tape, gradient); }, {"another layer's"});
  std::mt19937_64 generator{1};
  const Soft smaller{random_matrix<double>(2, width, generator), soft.experts};
  Soft small_gradient = zeros_like(smaller);
  expect_invalid([&] { smaller.backward(x_TD, x_TD, tape, small_gradient); }, {"4 slots", "2"});
  EXPECT_NO_THROW(soft.backward(x_TD, x_TD, tape, gradient));
}

TEST(SoftLayer, GradientsThatDoNotFitAreRefused) {
  Soft soft = soft_layer();
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  Soft::Tape tape;
  soft.forward(x_TD, tape);
  Soft fewer = zeros_like(soft);
  fewer.experts.pop_back();
  expect_invalid([&] { soft.backward(x_TD, x_TD, tape, fewer); }, {"experts", "2", "1"});
  expect_invalid([&] { soft.backward(x_TD, x_TD, tape, soft); }, {"itself"});
  expect_invalid([&] { soft.backward(x_TD, x_TD.topRows(2), tape, fewer); }, {"dy is 2 x 3"});
}

/// Of a group's slots by their definition: softmax over its tokens, and over all slots.
TEST(SoftLayer, GroupsDoNotSeeEachOther) {
  const Soft soft = soft_layer();
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  Batch<double> batch = x_TD;
  batch.group_size = 4;
  const Matrix<double> y_TD = soft.forward(batch);
  EXPECT_TRUE(y_TD.topRows(4).isApprox(soft.forward(x_TD.topRows(4)), 1e-14));
  EXPECT_TRUE(y_TD.bottomRows(4).isApprox(soft.forward(x_TD.bottomRows(4)), 1e-14));
}

}  // namespace soft_layer_test
}  // namespace moe
