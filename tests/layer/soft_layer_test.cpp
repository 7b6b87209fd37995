#include "moe/layer/soft_layer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
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
    refused(batch, {"in the forward pass it was 4"});
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
  expect_invalid([&] { smaller.backward(x_TD, x_TD, tape, small_gradient); }, {"another layer's"});
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

/// The definition, in loops (Puigcerver et al. 2023, algorithm 1), of random slots.
TEST(SoftLayer, RandomSlotsGiveThePapersSums) {
  std::mt19937_64 generator{3};
  const auto soft = Soft::random(2, width, make_experts<Mlp<double>>(experts, width, 5, generator), generator);
  ASSERT_EQ(soft.slots(), 4);
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2),
                       e = (x_TD * soft.slot_PD.transpose()).array().exp().matrix();
  const Matrix<double> in = (e * e.colwise().sum().cwiseInverse().asDiagonal()).transpose() * x_TD;
  Matrix<double> out(4, width);
  for (Index expert = 0; expert < experts; ++expert) {
    Mlp<double>::Tape tape;
    soft.experts[static_cast<std::size_t>(expert)].forward(in.middleRows(2 * expert, 2), out.middleRows(2 * expert, 2),
                                                           tape);
  }
  const Matrix<double> y_TD = e.rowwise().sum().cwiseInverse().asDiagonal() * e * out;
  EXPECT_TRUE(soft.forward(x_TD).isApprox(y_TD, 1e-13));
}

/// With hidden units that are dropped.
Soft dropping_layer(SoftOptions options = {}) {
  std::mt19937_64 generator{1};
  return Soft::random(
      slots / experts, width,
      make_experts<Mlp<double>>(experts, width, 6, generator, ExpertOptions{.bias = true, .dropout = 0.5}), generator,
      options);
}

Batch<double> padded_batch(const Matrix<double>& x_TD) {
  Batch<double> batch = x_TD;
  batch.group_size = 4;
  batch.valid = std::vector<std::uint8_t>{1, 1, 0, 1, 1, 0, 0, 1};
  return batch;
}

TEST(SoftLayer, GradientsAreExactWhereExpertsDrop) {
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  std::mt19937_64 generator{4};
  for (const bool normalize : {false, true})
    for (const bool padding_gets_mean : {false, true}) {
      const Soft soft = dropping_layer({.normalize = normalize, .padding_gets_mean = padding_gets_mean});
      const auto beside = Mlp<double>::random(width, 5, generator, {.dropout = 0.5});
      const auto options = support::gradient_options({.entries = 25, .tape_seed = 5});
      for (const Batch<double>& batch : {Batch<double>(x_TD), padded_batch(x_TD)}) {
        EXPECT_TRUE(testing::check_layer_gradients(soft, batch, options));
        EXPECT_TRUE(testing::check_layer_gradients(Shared{soft, beside}, batch, options));
        EXPECT_TRUE(testing::check_layer_gradients(Shared{soft, beside, SigmoidMix<double>::random(width, generator)},
                                                   batch, options));
        EXPECT_TRUE(testing::check_layer_gradients(
            Shared{soft, beside, SoftmaxMix<double>::random(width, generator, true)}, batch, options));
      }
    }
}

/// The sum of both, but where padding gets a mean: there the expert has no say.
TEST(SoftLayer, AnExpertBesideItSeesTheTokensAlone) {
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  const Linear<double> twice{2 * Matrix<double>::Identity(width, width)};
  for (const bool padding_gets_mean : {false, true}) {
    const Soft soft = soft_layer({.padding_gets_mean = padding_gets_mean});
    const Batch<double> batch = padded_batch(x_TD);
    Matrix<double> expected = soft.forward(batch);
    for (Index t = 0; t < tokens; ++t)
      if (batch.is_valid(t)) expected.row(t) += 2 * x_TD.row(t);
    EXPECT_TRUE((Shared{soft, twice}.forward(batch).isApprox(expected, 1e-15))) << padding_gets_mean;
  }
}

using Routed = Layer<Router<double>, TopK, Linear<double>, Losses<RouterZLoss>>;

Routed routed(std::uint64_t seed) {
  std::mt19937_64 generator{seed};
  return {Router<double>::random(2, width, generator), TopK{.k = 2},
          make_experts<Linear<double>>(2, width, width, generator), Losses{RouterZLoss{.coefficient = 1}}};
}

TEST(SoftLayer, HasTheLossesOfExpertsThatAreLayers) {
  std::mt19937_64 generator{1};
  const auto soft = SoftLayer<double, Routed>::random(2, width, {routed(1), routed(2)}, generator);
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  decltype(soft)::Tape tape;
  soft.forward(x_TD, tape);
  const double loss = soft.auxiliary_loss(tape);
  EXPECT_EQ(loss, soft.experts[0].auxiliary_loss(tape.experts[0]) + soft.experts[1].auxiliary_loss(tape.experts[1]));
  EXPECT_GT(loss, 0);
  EXPECT_TRUE(testing::check_layer_gradients(soft, x_TD, support::gradient_options({.entries = 25})));
  const Matrix<double> nothing = Matrix<double>::Zero(tokens, width);
  auto full = zeros_like(soft), half = full;
  soft.backward(x_TD, nothing, tape, full);
  tape.loss_scale = 0.5;
  soft.backward(x_TD, nothing, tape, half);
  EXPECT_GT(full.experts[0].router.weight_ED.norm(), 0);
  EXPECT_TRUE(flatten(half).isApprox(flatten(full) / 2, 1e-14));
  tape.loss_scale = support::nan_of<double>;
  expect_invalid([&] { soft.backward(x_TD, nothing, tape, half); }, {"SoftLayer::backward: tape.loss_scale is nan"});
  const Soft plain = soft_layer(), copy = plain;
  Soft::Tape plain_tape;
  plain.forward(x_TD, plain_tape);
  EXPECT_EQ(plain.auxiliary_loss(plain_tape), 0);
  expect_invalid([&] { copy.auxiliary_loss(plain_tape); }, {"another layer's"});
}

TEST(SoftLayer, ShowsTheBuffersOfItsExperts) {
  std::mt19937_64 generator{1};
  ScoredTopK gate{.k = 1, .scores = Scores::sigmoid({.normalize = false})};
  gate.selection_bias_E = Vector<double>{{1, 2}};
  const Layer inner{Router<double>::random(2, width, generator), gate,
                    make_experts<Linear<double>>(2, width, width, generator)};
  const auto soft =
      SoftLayer<double, std::remove_const_t<decltype(inner)>>::random(1, width, {inner, inner}, generator);
  std::vector<std::string> names;
  for_each_buffer([&](std::string_view name, const auto&) { names.emplace_back(name); }, soft);
  EXPECT_EQ(names, (std::vector<std::string>{"experts.0.gate.selection_bias", "experts.1.gate.selection_bias"}));
}

/// The same expert, but nobody knows that it has stages.
struct Whole {
  Mlp<float> inner;
  using Tape = Mlp<float>::Tape;
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape) const { inner.forward(x, y, tape); }
  void backward(ConstMatrixRef<float> x, ConstMatrixRef<float> dy, Tape& tape, MatrixRef<float> dx,
                Whole& gradient) const {
    inner.backward(x, dy, tape, dx, gradient.inner);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    Mlp<float>::visit_parameters(f, self.inner...);
  }
};

/// One training step: its bits.
template <class X, class Exec>
std::vector<Vector<double>> step(const SoftLayer<float, X>& soft, const Exec& executor, bool recompute = false) {
  const Matrix<float> x_TD = support::random_matrix<float>(200, 20, 2),
                      dy_TD = support::random_matrix<float>(200, 20, 3);
  typename SoftLayer<float, X>::Tape tape{7};
  std::vector<typename X::Tape> tapes;
  if (recompute) tape.recompute_in = &tapes;
  auto gradient = zeros_like(soft);
  const Matrix<float> y_TD = soft.forward(x_TD, tape, executor);
  const Matrix<float> dx_TD = soft.backward(x_TD, dy_TD, tape, gradient, executor);
  return {y_TD.reshaped().template cast<double>(), dx_TD.reshaped().template cast<double>(), flatten(gradient)};
}

TEST(SoftLayer, StagesAndThreadsAndRecomputingChangeNoBit) {
  std::mt19937_64 generator{1};
  const auto mlps = make_experts<Mlp<float>>(3, 20, 300, generator, ExpertOptions{.bias = true, .dropout = 0.5});
  const std::vector<Whole> wholes{{mlps[0]}, {mlps[1]}, {mlps[2]}};
  std::mt19937_64 first{2}, second{2};
  const auto soft = SoftLayer<float, Mlp<float>>::random(30, 20, mlps, first, {.normalize = true});
  const auto whole = SoftLayer<float, Whole>::random(30, 20, wholes, second, {.normalize = true});
  const auto serial = step(soft, Serial{});
  EXPECT_EQ(step(whole, Serial{}), serial);
  EXPECT_EQ(step(soft, Serial{}, true), serial);
  for (const int threads : {1, 2, 3, 5}) EXPECT_EQ(step(soft, Team{.threads = threads}), serial) << threads;
  EXPECT_EQ(step(soft, DefaultExecutor{}), serial);
}

TEST(SoftLayer, BatchesMayBeEmptyOrAllPadding) {
  for (const SoftOptions options : {SoftOptions{}, SoftOptions{.normalize = true}}) {
    const Soft soft = soft_layer(options);
    Soft::Tape tape;
    Soft gradient = zeros_like(soft);
    const Matrix<double> none(0, width), x_TD = support::random_matrix<double>(tokens, width, 2);
    for (const Index group_size : {0, 4}) {
      Batch<double> empty = none;
      empty.group_size = group_size;
      EXPECT_EQ(soft.forward(empty, tape).rows(), 0);
      EXPECT_EQ(soft.backward(empty, none, tape, gradient).rows(), 0);
    }
    Batch<double> padding = x_TD;
    padding.valid = std::vector<std::uint8_t>(tokens, std::uint8_t{0});
    EXPECT_TRUE(soft.forward(padding, tape).isZero(0));
    EXPECT_TRUE(soft.backward(padding, x_TD, tape, gradient).isZero(0));
  }
}

TEST(SoftLayer, TheCostOfAnInferencePassIsThatOfATrainingPass) {
  const Soft soft = soft_layer();
  Soft::Tape kept, tape;
  tape.keep_activations = false;
  const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  const Batch<double> batch = padded_batch(x_TD);
  soft.forward(batch, kept), soft.forward(batch, tape);
  EXPECT_EQ(cost_of(soft, tape).tokens, 5);
  EXPECT_EQ(cost_of(soft, tape).multiply_adds, cost_of(soft, kept).multiply_adds);
  const Shared shared{soft, soft.experts[0]};
  decltype(shared)::Tape of_shared;
  shared.forward(batch, of_shared);
  EXPECT_EQ(cost_of(shared, of_shared).multiply_adds, cost_of(soft, kept).multiply_adds + 5 * 2 * width * 5);
}

}  // namespace soft_layer_test
}  // namespace moe
