// Properties of whole layers: what must not change the numbers, and to which bit.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "draws.hpp"

namespace properties {
namespace layer_test {

template <class Layer>
using StepOf = Step<std::remove_cvref_t<Layer>>;

RC_GTEST_PROP(Layer, PermutedTokensGivePermutedBits, ()) {
  Sizes sizes = draw_sizes();
  const auto layer = top_k_layer(sizes);
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const std::vector<Index> order = random_order(sizes.tokens, sizes.rng);
  const StepOf<decltype(layer)> step(layer, x_TD, dy_TD), permuted(layer, rows(x_TD, order), rows(dy_TD, order));
  RC_ASSERT(support::same_bits(permuted.y_TD, rows(step.y_TD, order)));
  RC_ASSERT(support::same_bits(permuted.dx_TD, rows(step.dx_TD, order)));
  RC_ASSERT(is_close(moe::flatten(permuted.gradient), moe::flatten(step.gradient)));
}

/// A token's bits do not depend on its neighbours: any subset of rows, single ones too. Nor does its gradient, but for
/// rounding: an expert adds up those of one to three rows in an order of their own.
template <class X>
void assert_rows_stand_alone() {
  Sizes sizes = draw_sizes(1);
  const moe::Layer layer{random_router(sizes), sizes.top_k, random_experts<X>(sizes)};
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  std::vector<Index> subset = random_order(sizes.tokens, sizes.rng);
  subset.resize(static_cast<std::size_t>(*rc::gen::element(Index{1}, (sizes.tokens + 1) / 2)));
  const StepOf<decltype(layer)> whole(layer, x_TD, dy_TD), part(layer, rows(x_TD, subset), rows(dy_TD, subset));
  RC_ASSERT(support::same_bits(part.y_TD, rows(whole.y_TD, subset)));
  RC_ASSERT(is_close(part.dx_TD, rows(whole.dx_TD, subset)));
}

RC_GTEST_PROP(Layer, RowsStandAloneWithRelu, ()) { assert_rows_stand_alone<moe::Mlp<double, moe::Relu>>(); }
RC_GTEST_PROP(Layer, RowsStandAloneWithGelu, ()) { assert_rows_stand_alone<moe::Mlp<double, moe::Gelu>>(); }
RC_GTEST_PROP(Layer, RowsStandAloneWithGeluTanh, ()) { assert_rows_stand_alone<moe::Glu<double, moe::GeluTanh>>(); }
RC_GTEST_PROP(Layer, RowsStandAloneWithSilu, ()) { assert_rows_stand_alone<moe::Glu<double, moe::Silu>>(); }

/// The same beyond the blocks of the products, and in float.
TEST(Layer, RowsStandAloneInLargeLayers) {
  constexpr Index tokens = 400, width = 530, hidden = 300;
  std::mt19937_64 rng(1);
  const moe::Layer layer{support::random_router<float>(4, width, rng), moe::TopK{.k = 2},
                         support::random_experts<moe::Mlp<float, moe::Gelu>>(4, width, hidden, rng)};
  const auto x_TD = support::random_matrix<float>(tokens, width, rng);
  const moe::Matrix<float> y_TD = layer.forward(x_TD);
  for (const Index count : {1, 2, 7, 64, 193, 399})
    for (const Index first : {Index{0}, tokens - count})
      EXPECT_TRUE(support::same_bits(layer.forward(x_TD.middleRows(first, count)),
                                     moe::Matrix<float>(y_TD.middleRows(first, count))))
          << count << " rows from " << first;
}

/// The same experts in another order, with the rows of the router and of the noise: other sums, the same numbers.
RC_GTEST_PROP(Layer, RelabelledExpertsChangeNothing, ()) {
  Sizes sizes = draw_sizes();
  const auto gate = support::random_noisy_gate(sizes.experts, sizes.width, sizes.top_k, sizes.rng);
  const moe::Layer layer{
      random_router(sizes), gate, random_experts(sizes),
      moe::Losses{moe::ImportanceLoss{}, moe::LoadLoss{}, moe::LoadBalanceLoss{}, moe::RouterZLoss{}},
      moe::Capacity::factor(0.8)};
  const std::vector<Index> order = random_order(sizes.experts, sizes.rng);
  const auto relabelled = [&](auto model) {
    const auto original = model;
    model.router.weight_ED = rows(original.router.weight_ED, order);
    model.router.bias_E = rows(original.router.bias_E, order);
    model.gate.noise_weight_ED = rows(original.gate.noise_weight_ED, order);
    for (std::size_t e = 0; e < order.size(); ++e)
      model.experts[e] = original.experts[static_cast<std::size_t>(order[e])];
    return model;
  };
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const Matrix normal_TE = support::random_matrix(sizes.tokens, sizes.experts, sizes.rng);
  const auto tape = [](const Matrix& draws) {
    return typename std::remove_const_t<decltype(layer)>::Tape(
        moe::Random::recorded({draws.data(), draws.data() + draws.size()}));
  };
  const StepOf<decltype(layer)> step(layer, x_TD, dy_TD, tape(normal_TE)),
      other(relabelled(layer), x_TD, dy_TD, tape(rows(normal_TE.transpose(), order).transpose()));
  RC_ASSERT(is_close(other.y_TD, step.y_TD));
  RC_ASSERT(is_close(other.dx_TD, step.dx_TD, 1e-10));
  RC_ASSERT(is_close(other.auxiliary, step.auxiliary));
  RC_ASSERT(is_close(moe::flatten(other.gradient), moe::flatten(relabelled(step.gradient)), 1e-10));
}

RC_GTEST_PROP(Layer, AllExpertsChosenIsTheDenseMixture, ()) {
  Sizes sizes = draw_sizes();
  const moe::TopK all{
      .k = sizes.experts,
      .weights = *rc::gen::element(moe::ChoiceWeights::softmax_of_chosen(), moe::ChoiceWeights::renormalized(),
                                   moe::ChoiceWeights::probabilities())};
  const moe::Layer layer{random_router(sizes), all, random_experts(sizes)};
  const moe::Layer dense{layer.router, moe::Softmax{}, layer.experts};
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const StepOf<decltype(layer)> step(layer, x_TD, dy_TD);
  const StepOf<decltype(dense)> expected(dense, x_TD, dy_TD);
  RC_ASSERT(is_close(step.y_TD, expected.y_TD));
  RC_ASSERT(is_close(step.dx_TD, expected.dx_TD));
  RC_ASSERT(is_close(moe::flatten(step.gradient), moe::flatten(expected.gradient)));
}

RC_GTEST_PROP(Layer, RoomForEveryTokenIsUnlimited, ()) {
  Sizes sizes = draw_sizes();
  const auto layer = top_k_layer(sizes);
  auto limited = layer;
  limited.dispatching.capacity = moe::Capacity::exactly(sizes.tokens);
  const Matrix x_TD = random_tokens(sizes);
  RC_ASSERT(support::same_bits(limited.forward(x_TD), layer.forward(x_TD)));
}

/// With room for everyone nobody is dropped, so that it does not matter who would be first.
RC_GTEST_PROP(Layer, WithRoomForEveryTokenAllOrdersOfPriorityAgree, ()) {
  Sizes sizes = draw_sizes(1);
  const auto layer = top_k_layer(sizes);
  const auto priority = *rc::gen::element(moe::Priority::token, moe::Priority::best_probability, moe::Priority::weight,
                                          moe::Priority::logit, moe::Priority::random);
  const moe::Layer ordered{layer.router, moe::Prioritized{sizes.top_k, priority}, layer.experts,
                           moe::Capacity::exactly(sizes.tokens)};
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const StepOf<decltype(layer)> step(layer, x_TD, dy_TD);
  const StepOf<decltype(ordered)> other(ordered, x_TD, dy_TD,
                                        typename std::remove_const_t<decltype(ordered)>::Tape(std::uint64_t{3}));
  RC_ASSERT(other.tape.plan.dropped_choices.empty());
  RC_ASSERT(is_close(other.y_TD, step.y_TD));
  RC_ASSERT(is_close(other.dx_TD, step.dx_TD));
  RC_ASSERT(is_close(moe::flatten(other.gradient), moe::flatten(step.gradient)));
}

/// Dropped choices add nothing: without room for anyone the layer is zero, and teaches nothing.
RC_GTEST_PROP(Layer, NoRoomIsZero, ()) {
  Sizes sizes = draw_sizes();
  auto layer = top_k_layer(sizes);
  layer.dispatching.capacity = moe::Capacity::exactly(0);
  const StepOf<decltype(layer)> step(layer, random_tokens(sizes), random_tokens(sizes));
  RC_ASSERT((is_zero(step.y_TD) && is_zero(step.dx_TD) && is_zero(moe::flatten(step.gradient))));
}

RC_GTEST_PROP(Layer, OneExpertIsTheExpertItself, ()) {
  Sizes sizes = draw_sizes();
  sizes.experts = 1;
  const moe::Layer layer{random_router(sizes), moe::TopK{.k = 1}, random_experts(sizes),
                         moe::Losses{moe::ImportanceLoss{}, moe::LoadLoss{}}};
  const Matrix x_TD = random_tokens(sizes), dy_TD = random_tokens(sizes);
  const StepOf<decltype(layer)> step(layer, x_TD, dy_TD);

  const auto& expert = layer.experts.front();
  moe::SwiGlu<double>::Tape tape;
  auto gradient = moe::zeros_like(expert);
  Matrix y_TD(sizes.tokens, sizes.width), dx_TD(sizes.tokens, sizes.width);
  expert.forward(x_TD, y_TD, tape);
  expert.backward(x_TD, dy_TD, tape, dx_TD, gradient);
  RC_ASSERT((step.y_TD.array() == y_TD.array()).all());
  RC_ASSERT((step.dx_TD.array() == dx_TD.array()).all());
  RC_ASSERT((moe::flatten(step.gradient.experts.front()).array() == moe::flatten(gradient).array()).all());
  RC_ASSERT(is_zero(moe::flatten(step.gradient.router)));  // a weight that is always 1 teaches nothing
  RC_ASSERT(step.auxiliary == 0);
}

RC_GTEST_PROP(Layer, IdenticalExpertsMakeTheRoutingIrrelevant, ()) {
  Sizes sizes = draw_sizes(0, 2);
  sizes.top_k.weights = sizes.k > 1 ? moe::ChoiceWeights::softmax_of_chosen() : moe::ChoiceWeights::uniform();
  auto layer = top_k_layer(sizes);
  for (auto& expert : layer.experts) expert = layer.experts.front();
  auto other = layer;
  other.router = random_router(sizes);
  const Matrix x_TD = random_tokens(sizes);
  RC_ASSERT(is_close(other.forward(x_TD), layer.forward(x_TD)));
}

RC_GTEST_PROP(Layer, NoUpstreamGradientIsNoGradient, ()) {
  Sizes sizes = draw_sizes();
  const auto layer = top_k_layer(sizes);
  const StepOf<decltype(layer)> step(layer, random_tokens(sizes), Matrix::Zero(sizes.tokens, sizes.width));
  RC_ASSERT((is_zero(step.dx_TD) && is_zero(moe::flatten(step.gradient))));
}

/// NaN and infinities in one token stay in its row.
RC_GTEST_PROP(Layer, AnOddTokenStaysInItsRow, ()) {
  Sizes sizes = draw_sizes(2);
  const auto layer = top_k_layer(sizes);
  const Matrix x_TD = random_tokens(sizes);
  const auto odd = *rc::gen::inRange<Index>(0, sizes.tokens);
  Matrix odd_TD = x_TD;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  odd_TD(odd, *rc::gen::inRange<Index>(0, sizes.width)) =
      *rc::gen::element(infinity, -infinity, std::numeric_limits<double>::quiet_NaN());
  const Matrix y_TD = layer.forward(x_TD), with_odd_TD = layer.forward(odd_TD);
  for (Index t = 0; t < sizes.tokens; ++t)
    if (t != odd) RC_ASSERT(support::same_bits(Matrix(with_odd_TD.row(t)), Matrix(y_TD.row(t))));
  RC_ASSERT(!with_odd_TD.row(odd).allFinite());
}

RC_GTEST_PROP(Parameters, FlattenAndUnflattenAreInverse, ()) {
  Sizes sizes = draw_sizes();
  const auto layer = top_k_layer(sizes);
  auto copy = moe::zeros_like(layer);
  moe::unflatten(moe::flatten(layer), copy);
  RC_ASSERT(moe::flatten(layer).size() == moe::parameter_count(layer));
  moe::for_each_parameter([](std::string_view, const auto& a, const auto& b) { RC_ASSERT(support::same_bits(a, b)); },
                          layer, copy);
}

}  // namespace layer_test
}  // namespace properties
