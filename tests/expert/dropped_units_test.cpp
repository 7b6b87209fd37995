// Dropout inside experts, by themselves and in a layer.
#include "moe/expert/dropout.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/expert/clamped_swiglu.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"
#include "support/one_thread.hpp"

namespace moe {
namespace dropout_test {

constexpr Index width = 5, experts = 3, tokens = 8;
constexpr ExpertOptions options{.bias = true, .multiplier = true, .dropout = 0.4};

template <class X>
X expert() {
  std::mt19937_64 generator{1};
  return X::random(width, 20, generator, options);
}

template <class X>
auto layer_of(const X& one) {
  std::mt19937_64 generator{2};
  return Layer{Router<double>::random(experts, width, generator), TopK{.k = 2}, std::vector<X>(experts, one)};
}

template <class L>
Matrix<double> outputs(const L& layer, std::optional<std::uint64_t> seed) {
  auto tape = seed ? typename L::Tape(*seed) : typename L::Tape();
  return layer.forward(support::random_matrix<double>(tokens, width, 3), tape);
}

/// As a user would write it: y = dropout(x .* scale), the mask drawn again for the backward pass.
struct Dropping {
  Vector<double> scale_D = Vector<double>::LinSpaced(width, 1, 2);
  Dropout dropout{0.4};

  struct Tape {
    std::optional<std::uint64_t> random;
  };
  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape& tape) const {
    y = x * scale_D.asDiagonal();
    dropout.drop(tape.random, y);
  }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape& tape, MatrixRef<double> dx,
                Dropping& gradient) const {
    dx = dy;
    dropout.drop(tape.random, dx);
    gradient.scale_D += x.cwiseProduct(dx).colwise().sum().transpose();
    dx = dx * scale_D.asDiagonal();
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

template <class X>
void expect_dropout(const X& one) {
  const auto layer = layer_of(one);
  EXPECT_EQ(outputs(layer, 7), outputs(layer, 7));
  EXPECT_NE(outputs(layer, 7), outputs(layer, 8));
  EXPECT_NE(outputs(layer, 7), outputs(layer, std::nullopt));
  auto without = layer;
  for (auto& e : without.experts) e.dropout.rate = 0;
  EXPECT_EQ(outputs(layer, std::nullopt), outputs(without, std::nullopt));
  EXPECT_EQ(outputs(without, 7), outputs(without, std::nullopt));
}

TEST(ExpertDropout, DropsInTrainingAlone) {
  expect_dropout(expert<Mlp<double>>());
  expect_dropout(expert<SwiGlu<double>>());
  expect_dropout(expert<ClampedSwiGlu<double>>());
  expect_dropout(Dropping{});
}

template <class X>
void expect_exact(const X& one) {
  EXPECT_TRUE(testing::check_gradients(one, support::random_matrix<double>(6, width, 4),
                                       support::gradient_options({.tape_seed = 7})));
  EXPECT_TRUE(testing::check_layer_gradients(layer_of(one), support::random_matrix<double>(tokens, width, 4),
                                             support::gradient_options({.entries = 30, .tape_seed = 7})));
}

TEST(ExpertDropout, GradientsAreThoseOfTheMaskedPass) {
  expect_exact(expert<Mlp<double, Gelu>>());
  expect_exact(expert<SwiGlu<double>>());
  expect_exact(expert<ClampedSwiGlu<double>>());
  expect_exact(Dropping{});
}

TEST(ExpertDropout, ExpertsOfOneLayerDropIndependently) {
  const auto layer = layer_of(expert<Mlp<double>>());  // of equal experts
  const Matrix<double> x = Matrix<double>::Ones(1, width);
  std::vector<Matrix<double>> y;
  decltype(layer)::Tape tape{7};
  layer.forward(x, tape);
  EXPECT_NE(tape.y_NO.row(0), tape.y_NO.row(1));
  EXPECT_NE(tape.experts[0].random, tape.experts[1].random);
}

TEST(ExpertDropout, ReachesVariantsAndSharedExperts) {
  using Any = VariantExpert<double, Mlp<double>, Dropping>;
  const auto plain = layer_of(expert<Mlp<double>>());
  std::vector<Any> bag(experts, Any{expert<Mlp<double>>()});
  const Layer varied{plain.router, plain.gate, bag};
  EXPECT_EQ(outputs(varied, 7), outputs(plain, 7));  // the same seeds
  const Shared shared{plain, Dropping{}};
  EXPECT_NE(outputs(shared, 7), outputs(shared, 8));
  EXPECT_TRUE(testing::check_layer_gradients(shared, support::random_matrix<double>(tokens, width, 4),
                                             support::gradient_options({.entries = 30, .tape_seed = 7})));
}

#ifdef _OPENMP
TEST(ExpertDropout, BitsDoNotDependOnThreads) {
  std::mt19937_64 generator{1};
  const Layer layer{Router<float>::random(experts, width, generator), TopK{.k = 2},
                    make_experts<SwiGlu<float>>(experts, width, 1200, generator, ExpertOptions{.dropout = 0.3})};
  const auto x = support::random_matrix<float>(60, width, 1), dy = support::random_matrix<float>(60, width, 2);
  const auto run = [&](const auto& executor) {
    decltype(layer)::Tape tape{3};
    auto gradient = zeros_like(layer);
    Matrix<float> y = layer.forward(x, tape, executor);
    Matrix<float> dx = layer.backward(x, dy, tape, gradient, executor);
    return std::tuple(std::move(y), std::move(dx), flatten(gradient));
  };
  EXPECT_EQ(run(Serial{}), run(OpenMp{.threads = 3}));
}
#endif

TEST(ExpertDropout, RatesThatMakeNoSenseAreRefused) {
  std::mt19937_64 generator{1};
  support::expect_invalid([&] { Mlp<double>::random(4, 3, generator, {.dropout = 1}); }, {"rate is 1", "[0, 1)"});
  auto layer = layer_of(expert<SwiGlu<double>>());
  layer.experts[1].dropout.rate = -1;
  support::expect_invalid([&] { outputs(layer, 7); }, {"rate is -1"});
}

}  // namespace dropout_test
}  // namespace moe
