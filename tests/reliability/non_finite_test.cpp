// NaN, infinite and huge values stay in their own row.
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "moe/moe.hpp"
#include "reliability/small_layer.hpp"

namespace moe {
namespace non_finite_test {

using namespace reliability;

const Matrix<float> clean_TD = support::random_matrix<float>(6, width, 3);
constexpr Index bad = 2;  // the row that is spoilt

/// The other rows' bits are those of the clean batch, and choices stay in range and are different experts.
template <class SomeLayer>
void expect_the_others_unharmed(const SomeLayer& layer, const Matrix<float>& x_TD) {
  typename SomeLayer::Tape tape;
  const Matrix<float> expected = layer.forward(clean_TD), y_TD = layer.forward(x_TD, tape);
  std::vector<std::set<Index>> experts_of(static_cast<std::size_t>(x_TD.rows()));
  for (const Choice<float>& c : tape.routing.choices) {
    ASSERT_TRUE(c.token >= 0 && c.token < x_TD.rows() && c.expert >= 0 && c.expert < experts);
    EXPECT_TRUE(experts_of[static_cast<std::size_t>(c.token)].insert(c.expert).second) << "twice the same expert";
  }
  for (Index t = 0; t < x_TD.rows(); ++t)
    EXPECT_TRUE(t == bad || support::same_bits(y_TD.row(t), expected.row(t))) << "row " << t;
}

TEST(NonFinite, TokensStayInTheirRow) {
  const std::vector<float> values{support::nan_of<float>, support::infinity_of<float>, -support::infinity_of<float>,
                                  3e38f, -3e38f};
  for (const float value : values) {
    Matrix<float> x_TD = clean_TD;
    x_TD(bad, 1) = value;
    expect_the_others_unharmed(small_layer(), x_TD);
    x_TD.row(bad).setConstant(value);
    expect_the_others_unharmed(small_layer(), x_TD);
    expect_the_others_unharmed(Layer{small_router(), switch_top1(), small_experts<Mlp<float>>()}, x_TD);
    expect_the_others_unharmed(Layer{small_router(), Softmax{}, small_experts<Mlp<float, Gelu>>()}, x_TD);
  }
}

TEST(NonFinite, ATokenOfNaNGoesToTheFirstExpertsAndHasARowOfNaN) {
  Matrix<float> x_TD = clean_TD;
  x_TD.row(bad).setConstant(support::nan_of<float>);
  SmallLayer::Tape tape;
  const Matrix<float> y_TD = small_layer().forward(x_TD, tape);
  EXPECT_TRUE(y_TD.row(bad).array().isNaN().all());
  for (const Choice<float>& c : tape.routing.choices)
    EXPECT_TRUE(c.token != bad || c.expert == c.rank) << "expert " << c.expert;
}

TEST(NonFinite, ExpertChoiceKeepsToTheRangeWithoutDuplicates) {
  Matrix<float> x_TD(6, width);
  support::poison(x_TD);
  const Layer layer{small_router(), ExpertChoice{}, small_experts<Mlp<float>>()};
  decltype(layer)::Tape tape;
  layer.forward(x_TD, tape);
  std::set<std::pair<Index, Index>> pairs;
  for (const Choice<float>& c : tape.routing.choices) {
    EXPECT_TRUE(c.token >= 0 && c.token < 6);
    EXPECT_TRUE(pairs.emplace(c.token, c.expert).second);
  }
  EXPECT_EQ(pairs.size(), 12u);  // 4 experts, 6 * 2 / 4 = 3 tokens each
}

TEST(NonFinite, AnInfiniteBiasSendsAllToItsExpert) {
  Router<float> router = small_router();
  router.bias_E = Vector<float>{{0, support::infinity_of<float>, 0, 0}};
  const Layer layer{router, TopK{.k = 2}, small_experts<Mlp<float>>()};
  decltype(layer)::Tape tape;
  EXPECT_TRUE(layer.forward(clean_TD, tape).allFinite());
  for (const Choice<float>& c : tape.routing.choices) EXPECT_EQ(c.weight, c.expert == 1 ? 1 : 0);
}

TEST(NonFinite, AnExpertMaskedByMinusInfinityIsNotChosen) {
  Router<float> router = small_router();
  router.bias_E = Vector<float>{{0, -support::infinity_of<float>, 0, 0}};
  const Layer layer{router, TopK{.k = 3}, small_experts<Mlp<float>>()};
  decltype(layer)::Tape tape;
  EXPECT_TRUE(layer.forward(clean_TD, tape).allFinite());
  for (const Choice<float>& c : tape.routing.choices) EXPECT_NE(c.expert, 1);
}

TEST(NonFinite, LogitsOfThreeTimesTenToThe38GiveFiniteOutputsAndGradients) {
  Router<float> router = Router<float>::zeros(experts, width);
  router.bias_E = Vector<float>{{3e38f, -3e38f, 3e38f, 0}};
  const Layer layer{router, TopK{.k = 2}, small_experts<Mlp<float>>(), Losses{ImportanceLoss{}}};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  const Matrix<float> y_TD = layer.forward(clean_TD, tape);
  EXPECT_TRUE(y_TD.allFinite());
  EXPECT_TRUE(layer.backward(clean_TD, y_TD, tape, gradient).allFinite());
  EXPECT_TRUE(flatten(gradient).allFinite());
}

TEST(NonFinite, PaddingOfNaNTouchesNothing) {
  auto layer = small_layer(Capacity::factor(1));
  layer.router.bias_E.setZero(experts);
  Matrix<float> padded_TD(8, width), dy_TD = support::random_matrix<float>(6, width, 4), padded_dy_TD(8, width);
  support::poison(padded_TD);
  support::poison(padded_dy_TD);
  padded_TD.middleRows(1, 6) = clean_TD;
  padded_dy_TD.middleRows(1, 6) = dy_TD;
  const std::vector<std::uint8_t> valid{0, 1, 1, 1, 1, 1, 1, 0};
  Batch<float> padded = padded_TD;
  padded.valid = valid;

  SmallLayer::Tape tape, padded_tape;
  auto gradient = zeros_like(layer), padded_gradient = zeros_like(layer);
  const Matrix<float> y_TD = layer.forward(clean_TD, tape), padded_y_TD = layer.forward(padded, padded_tape);
  const Matrix<float> dx_TD = layer.backward(clean_TD, dy_TD, tape, gradient);
  const Matrix<float> padded_dx_TD = layer.backward(padded, padded_dy_TD, padded_tape, padded_gradient);
  const Matrix<float> zero = Matrix<float>::Zero(1, width);
  for (const Index row : {0, 7}) {
    EXPECT_TRUE(support::same_bits(padded_y_TD.row(row), zero));
    EXPECT_TRUE(support::same_bits(padded_dx_TD.row(row), zero));
  }
  EXPECT_TRUE(support::same_bits(padded_y_TD.middleRows(1, 6), y_TD));
  EXPECT_TRUE(support::same_bits(padded_dx_TD.middleRows(1, 6), dx_TD));
  EXPECT_TRUE(support::same_parameters(padded_gradient, gradient));
  EXPECT_EQ(layer.auxiliary_loss(padded_tape), layer.auxiliary_loss(tape));
}

TEST(NonFinite, AnUpstreamGradientOfNaNIsRefusedByTheOptimiser) {
  auto layer = small_layer();
  const auto before = layer;
  SmallLayer::Tape tape;
  auto gradient = zeros_like(layer);
  Matrix<float> dy_TD = layer.forward(clean_TD, tape);
  dy_TD(bad, 0) = support::nan_of<float>;
  layer.backward(clean_TD, dy_TD, tape, gradient);
  clip_global_norm(gradient, 1);
  AdamW adam{layer};
  Sgd sgd{layer};
  EXPECT_FALSE(adam.step(layer, gradient));
  EXPECT_FALSE(sgd.step(layer, gradient));
  EXPECT_TRUE(support::same_parameters(layer, before));
}

}  // namespace non_finite_test
}  // namespace moe
