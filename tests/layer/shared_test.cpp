#include "moe/layer/shared.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/expert/glu.hpp"
#include "moe/expert/linear.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"
#include "support/one_thread.hpp"

namespace moe {
namespace shared_test {

using support::expect_invalid;
using support::same_bits;
using testing::check_layer_gradients;

constexpr Index width = 5, experts = 4, tokens = 7;

template <class S = double>
auto routed_layer() {
  std::mt19937_64 generator{1};
  return Layer{Router<S>::random(experts, width, generator), TopK{.k = 2},
               make_experts<SwiGlu<S>>(experts, width, 6, generator), Losses{LoadBalanceLoss{}, RouterZLoss{}}};
}

template <class S = double>
auto always_on() {
  std::mt19937_64 generator{2};
  return Mlp<S, Gelu>::random(width, 20, generator, {.bias = true});
}

template <class S = double>
SoftmaxMix<S> softmax_mix() {
  std::mt19937_64 generator{3};
  return SoftmaxMix<S>::random(width, generator, true);
}

template <class S = double>
SigmoidMix<S> sigmoid_mix() {
  std::mt19937_64 generator{4};
  return SigmoidMix<S>::random(width, generator);
}

const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 5);

/// An expert that nobody knows to have stages, as one of a user's own.
struct Doubling {
  struct Tape {};
  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape&) const { y = 2 * x; }
  void backward(ConstMatrixRef<double>, ConstMatrixRef<double> dy, Tape&, MatrixRef<double> dx, Doubling&) const {
    dx = 2 * dy;
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

TEST(Shared, TheExpertIsAddedToEveryToken) {
  const auto layer = routed_layer();
  const Matrix<double> expected = layer.forward(x_TD) + 2 * x_TD;
  EXPECT_LT((Shared{layer, Doubling{}}.forward(x_TD) - expected).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(Shared, AGateWeighsTheExpertBySigmoid) {
  const auto layer = routed_layer();
  const auto mix = sigmoid_mix();
  const Matrix<double> y = Shared{layer, Doubling{}, mix}.forward(x_TD), routed = layer.forward(x_TD);
  for (Index t = 0; t < tokens; ++t) {
    const double gate = 1 / (1 + std::exp(-x_TD.row(t).dot(mix.weight_LD.row(0))));
    EXPECT_LT((y.row(t) - routed.row(t) - gate * 2 * x_TD.row(t)).cwiseAbs().maxCoeff(), 1e-14) << t;
  }
}

TEST(Shared, AResidualMixtureWeighsBothBySoftmax) {
  const auto layer = routed_layer();
  const auto mix = softmax_mix();
  const Matrix<double> y = Shared{layer, Doubling{}, mix}.forward(x_TD), routed = layer.forward(x_TD);
  for (Index t = 0; t < tokens; ++t) {
    const double a = std::exp(x_TD.row(t).dot(mix.weight_LD.row(0)) + mix.bias_L(0));
    const double b = std::exp(x_TD.row(t).dot(mix.weight_LD.row(1)) + mix.bias_L(1));
    const Matrix<double> expected = (a * routed.row(t) + b * 2 * x_TD.row(t)) / (a + b);
    EXPECT_LT((y.row(t) - expected).cwiseAbs().maxCoeff(), 1e-14) << t;
  }
}

template <class SomeShared>
void expect_exact(const SomeShared& shared) {
  EXPECT_TRUE(check_layer_gradients(shared, x_TD, support::gradient_options({.entries = 25})));
  const std::vector<std::uint8_t> mask{1, 0, 1, 1, 0, 1, 1};
  Batch<double> batch(x_TD);
  batch.valid = mask;
  EXPECT_TRUE(check_layer_gradients(shared, batch, support::gradient_options({.entries = 25})));
}

// The losses are part of these.
TEST(Shared, GradientsAreExact) {
  const Layer layer = routed_layer();
  expect_exact(Shared{layer, Doubling{}});
  expect_exact(Shared{layer, always_on()});
  expect_exact(Shared{layer, always_on(), sigmoid_mix()});
  expect_exact(Shared{layer, always_on(), softmax_mix()});
}

TEST(Shared, ItsTapeSeedsTheLayer) {
  std::mt19937_64 generator{7};
  auto gate = NoisyTopK<double>::zeros(experts, width, {.k = 2});
  gate.noise_weight_ED = random_matrix<double>(experts, width, generator);
  const Layer noisy{Router<double>::random(experts, width, generator), gate, routed_layer().experts};
  const Shared shared{noisy, always_on(), softmax_mix()};
  decltype(shared)::Tape tape{5}, same{5}, other{6};
  const Matrix<double> y = shared.forward(x_TD, tape);
  EXPECT_EQ(shared.forward(x_TD, same), y);
  EXPECT_NE(shared.forward(x_TD, other), y);
  EXPECT_TRUE(check_layer_gradients(shared, x_TD, support::gradient_options({.entries = 25, .tape_seed = 5})));
}

TEST(Shared, SeveralAreOneAroundTheOther) {
  const Shared two{Shared{routed_layer(), always_on(), sigmoid_mix()}, Doubling{}};
  const Matrix<double> expected = two.layer.forward(x_TD) + 2 * x_TD;
  EXPECT_LT((two.forward(x_TD) - expected).cwiseAbs().maxCoeff(), 1e-15);
  expect_exact(two);
}

TEST(Shared, IsAnExpertOfAnotherLayer) {
  std::mt19937_64 generator{7};
  const Layer outer{Router<double>::random(2, width, generator),
                    TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                    std::vector(2, Shared{routed_layer(), always_on(), softmax_mix()}), Losses{RouterZLoss{}}};
  EXPECT_TRUE(check_layer_gradients(outer, x_TD, support::gradient_options({.entries = 25})));
  decltype(outer)::Tape tape;
  outer.forward(x_TD, tape);
  EXPECT_GT(outer.auxiliary_loss(tape), outer.losses.value(tape.routing));  // those of the inner layers too
}

TEST(Shared, ALayerMayBeTheExpert) {
  const Shared shared{routed_layer(), routed_layer()};
  decltype(shared)::Tape tape;
  const Matrix<double> y = shared.forward(x_TD, tape);
  EXPECT_LT((y - 2 * shared.layer.forward(x_TD)).cwiseAbs().maxCoeff(), 1e-15);
  EXPECT_EQ(shared.auxiliary_loss(tape), 2 * shared.layer.auxiliary_loss(tape));
  EXPECT_TRUE(check_layer_gradients(shared, x_TD, support::gradient_options({.entries = 25})));
}

TEST(Shared, ParametersAreNamedByPart) {
  const Shared shared{routed_layer(), always_on(), sigmoid_mix()};
  std::vector<std::string> names;
  for_each_parameter([&](std::string_view name, const auto&) { names.emplace_back(name); }, shared);
  EXPECT_EQ(names.front(), "layer.router.weight");
  EXPECT_EQ(names[names.size() - 5], "expert.w1");
  EXPECT_EQ(names.back(), "mix.weight");
  EXPECT_EQ(parameter_count(shared),
            parameter_count(shared.layer) + parameter_count(shared.expert) + parameter_count(shared.mix));
}

TEST(Shared, PaddingIsNotSeen) {
  const Shared shared{routed_layer<float>(), always_on<float>(), softmax_mix<float>()};
  Matrix<float> x = support::random_matrix<float>(tokens, width, 1),
                dy = support::random_matrix<float>(tokens, width, 2);
  Matrix<float> alone(2, width), dy_alone(2, width);
  alone << x.row(1), x.row(4);
  dy_alone << dy.row(1), dy.row(4);
  for (const Index t : {0, 2, 3, 5, 6}) x.row(t).setConstant(support::nan_of<float>);
  const std::vector<std::uint8_t> mask{0, 1, 0, 0, 1, 0, 0};
  Batch<float> batch(x);
  batch.valid = mask;
  decltype(shared)::Tape tape, own_tape;
  auto gradient = zeros_like(shared), own_gradient = gradient;
  const Matrix<float> y = shared.forward(batch, tape), own = shared.forward(alone, own_tape);
  const Matrix<float> dx = shared.backward(batch, dy, tape, gradient);
  const Matrix<float> own_dx = shared.backward(alone, dy_alone, own_tape, own_gradient);
  for (const Index t : {0, 2, 3, 5, 6}) {
    EXPECT_TRUE(y.row(t).isZero(0)) << t;
    EXPECT_TRUE(dx.row(t).isZero(0)) << t;
  }
  EXPECT_TRUE(same_bits(y.row(1), own.row(0)) && same_bits(y.row(4), own.row(1)));
  EXPECT_TRUE(same_bits(dx.row(1), own_dx.row(0)) && same_bits(dx.row(4), own_dx.row(1)));
  EXPECT_TRUE(support::same_parameters(gradient.mix, own_gradient.mix));
  EXPECT_TRUE(support::same_parameters(gradient.expert, own_gradient.expert));
}

/// A token that the layer takes for padding, since its logits are not finite, is padding for the shared expert too.
TEST(Shared, TokensThatTheLayerRefusesAreNotSeen) {
  DispatchOptions options;
  options.non_finite = NonFinite::zero_row;
  const auto one = [](double weight) { return Linear<double>{Matrix<double>::Constant(1, 1, weight)}; };
  const Layer layer{Router<double>::zeros(1, 1), TopK{.k = 1}, std::vector{one(1)}, options};
  const Matrix<double> x{{1}, {support::nan_of<double>}}, dy = Matrix<double>::Ones(2, 1);
  const auto expect_padding = [&](const auto& shared, double y0, double dx0) {
    typename std::remove_cvref_t<decltype(shared)>::Tape tape;
    auto gradient = zeros_like(shared);
    EXPECT_EQ(shared.forward(x, tape), (Matrix<double>{{y0}, {0}}));
    EXPECT_EQ(shared.backward(x, dy, tape, gradient), (Matrix<double>{{dx0}, {0}}));
    return gradient.expert.weight_OD(0, 0);
  };
  EXPECT_EQ(expect_padding(Shared{layer, one(1)}, 2, 2), 1);
  EXPECT_EQ(expect_padding(Shared{layer, one(3), SoftmaxMix<double>{Matrix<double>::Zero(2, 1)}}, 2, 2), 0.5);
  EXPECT_EQ(expect_padding(Shared{Shared{layer, one(1)}, one(4)}, 6, 6), 1);
}

TEST(Shared, BatchesMayBeEmptyOrAllPadding) {
  const Shared shared{routed_layer(), always_on(), softmax_mix()};
  decltype(shared)::Tape tape;
  auto gradient = zeros_like(shared);
  const Matrix<double> none(0, width);
  EXPECT_EQ(shared.forward(none, tape).rows(), 0);
  EXPECT_EQ(shared.backward(none, none, tape, gradient).rows(), 0);
  const std::vector<std::uint8_t> mask(tokens, 0);
  Batch<double> batch(x_TD);
  batch.valid = mask;
  EXPECT_TRUE(shared.forward(batch, tape).isZero(0));
  EXPECT_TRUE(shared.backward(batch, x_TD, tape, gradient).isZero(0));
  EXPECT_TRUE(flatten(gradient).isZero(0));
}

#ifdef _OPENMP
TEST(Shared, BitsDoNotDependOnThreads) {
  std::mt19937_64 generator{1};
  const Shared shared{routed_layer<float>(), SwiGlu<float>::random(width, 700, generator), softmax_mix<float>()};
  const auto x = support::random_matrix<float>(300, width, 1), dy = support::random_matrix<float>(300, width, 2);
  const auto run = [&](const auto& executor) {
    decltype(shared)::Tape tape;
    auto gradient = zeros_like(shared);
    Matrix<float> y = shared.forward(x, tape, executor);
    Matrix<float> dx = shared.backward(x, dy, tape, gradient, executor);
    return std::tuple(std::move(y), std::move(dx), flatten(gradient));
  };
  EXPECT_EQ(run(Serial{}), run(OpenMp{.threads = 3}));
}
#endif

TEST(Shared, PartsThatDoNotFitAreRefused) {
  std::mt19937_64 generator{1};
  const Layer layer = routed_layer();
  const auto narrow = Mlp<double>::random(4, 3, generator);
  auto wide = always_on();
  wide.w2_DF = Matrix<double>::Zero(6, 20), wide.b2_D.setZero(6);
  const auto narrow_mix = SigmoidMix<double>::random(3, generator);
  expect_invalid([&] { Shared{layer, narrow}; }, {"w1 is 3 x 4", "width 5"});
  expect_invalid([&] { Shared{layer, wide}; }, {"outputs have 5 columns, the expert's 6"});
  expect_invalid([&] { Shared{layer, always_on(), narrow_mix}; }, {"1 x 3", "1 x 5"});

  // Changed since.
  Shared shared{layer, always_on(), sigmoid_mix()};
  Matrix<double> y = Matrix<double>::Constant(tokens, width, 9);
  decltype(shared)::Tape tape;
  const auto expect_refused = [&](std::initializer_list<std::string_view> parts) {
    expect_invalid([&] { shared.forward_into(x_TD, y, tape); }, parts);
    EXPECT_EQ(y, Matrix<double>::Constant(tokens, width, 9));
  };
  shared.mix = narrow_mix;
  expect_refused({"1 x 3", "1 x 5"});
  shared.expert = wide;
  expect_refused({"outputs have 5 columns, the expert's 6"});
}

TEST(Shared, CallsThatDoNotFitLeaveTheGradientAlone) {
  Shared shared{routed_layer(), always_on(), sigmoid_mix()};
  decltype(shared)::Tape tape;
  auto gradient = zeros_like(shared);
  Matrix<double> dx = x_TD;
  const auto expect_refused = [&](const auto& call, std::initializer_list<std::string_view> parts) {
    expect_invalid(call, parts);
    EXPECT_TRUE(flatten(gradient).isZero(0));
    EXPECT_EQ(dx, x_TD);
  };
  expect_refused([&] { shared.backward_into(x_TD, x_TD, tape, dx, gradient); }, {"holds no forward pass"});
  shared.forward(x_TD, tape);
  expect_refused([&] { shared.backward_into(x_TD.topRows(3), x_TD.topRows(3), tape, dx, gradient); }, {"of 3 tokens"});
  expect_refused([&] { shared.backward_into(x_TD, x_TD.leftCols(3), tape, dx, gradient); }, {"dy is 7 x 3", "7 x 5"});
  expect_refused([&] { shared.backward_into(x_TD, dx, tape, dx, gradient); }, {"dx overlaps dy"});
  auto narrow = gradient;
  narrow.mix.weight_LD.resize(1, 2);
  expect_refused([&] { shared.backward_into(x_TD, x_TD, tape, dx, narrow); }, {"'weight' is 1 x 5", "1 x 2"});
  narrow = gradient;
  narrow.expert.b1_F.resize(3);
  expect_refused([&] { shared.backward_into(x_TD, x_TD, tape, dx, narrow); }, {"'b1' is 20 x 1", "3 x 1"});
  tape.keep_activations = false;
  EXPECT_TRUE(same_bits(shared.forward(x_TD, tape), shared.forward(x_TD)));
  expect_refused([&] { shared.backward_into(x_TD, x_TD, tape, dx, gradient); }, {"keep_activations was false"});
  tape.keep_activations = true;
  shared.forward(x_TD, tape);
  std::mt19937_64 generator{5};
  shared.expert = Mlp<double, Gelu>::random(width, 21, generator);
  gradient = zeros_like(shared);
  expect_refused([&] { shared.backward_into(x_TD, x_TD, tape, dx, gradient); }, {"7 x 20", "7 x 21"});
}

TEST(Shared, ATapeOfAnotherIsRefusedBeforeAnythingIsRead) {
  std::mt19937_64 rng(1);
  const auto wide_or_narrow = [&](Index outputs) {
    return moe::Shared{moe::Layer{moe::Router<float>::random(2, 3, rng), moe::TopK{.k = 2},
                                  moe::make_experts<moe::Linear<float>>(2, 3, outputs, rng)},
                       moe::Linear<float>::random(3, outputs, rng), moe::SoftmaxMix<float>::random(3, rng)};
  };
  const auto wide = wide_or_narrow(64), narrow = wide_or_narrow(2);
  typename std::remove_const_t<decltype(wide)>::Tape tape;
  const moe::Matrix<float> x = moe::Matrix<float>::Ones(5, 3), dy = moe::Matrix<float>::Ones(5, 2);
  wide.forward(x, tape);
  auto gradient = moe::zeros_like(narrow);
  EXPECT_THROW(narrow.backward(x, dy, tape, gradient), std::invalid_argument);
}

TEST(Shared, WithoutExpertsIsRefused) {
  std::mt19937_64 rng(1);
  moe::Shared shared{moe::Layer{moe::Router<float>::random(2, 3, rng), moe::TopK{.k = 2},
                                moe::make_experts<moe::Linear<float>>(2, 3, 3, rng)},
                     moe::Linear<float>::random(3, 3, rng)};
  shared.layer.experts.clear();
  const moe::Matrix<float> x = moe::Matrix<float>::Ones(5, 3);
  EXPECT_THROW(shared.forward(x), std::invalid_argument);
}

}  // namespace shared_test
}  // namespace moe
