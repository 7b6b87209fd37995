#include "moe/layer/run_experts.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "moe/expert/glu.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/report/cost.hpp"
#include "moe/router/router.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace run_experts_test {

using support::same_bits;

/// The same expert, but nobody knows that it has stages: as a user's own would be.
template <class X>
struct Whole {
  X inner;
  using Tape = typename X::Tape;
  using S = float;

  Index output_width() const { return inner.output_width(); }
  void forward(ConstMatrixRef<S> x, MatrixRef<S> y, Tape& tape) const { inner.forward(x, y, tape); }
  void backward(ConstMatrixRef<S> x, ConstMatrixRef<S> dy, Tape& tape, MatrixRef<S> dx, Whole& gradient) const {
    inner.backward(x, dy, tape, dx, gradient.inner);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    X::visit_parameters(f, self.inner...);
  }
};

static_assert(StagedExpert<Mlp<float>, float> && !StagedExpert<Whole<Mlp<float>>, float>);

/// With a forward pass of its own, and the stages of the expert that it derives from.
struct Doubled : Mlp<float> {
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape) const {
    Mlp<float>::forward(x, y, tape);
    y *= 2;
  }
};
static_assert(Expert<Doubled, float> && !StagedExpert<Doubled, float>);

/// Says itself how many rows go through its stages at once, in an integer of its own.
struct Blocked : Mlp<float> {
  int rows = 0;

  using StagesOf = Blocked;
  int rows_of_block() const { return rows; }
};
static_assert(StagedExpert<Blocked, float>);

/// One pass forward and backward.
template <class X>
struct Pass {
  Matrix<float> y_TD, dx_TD;
  Vector<double> gradient;

  Pass(const Router<float>& router, const std::vector<X>& experts, const Matrix<float>& x_TD) {
    const Layer layer{router, TopK{.k = 2}, experts};
    typename decltype(layer)::Tape tape(1);
    auto gradients = zeros_like(layer);
    y_TD = layer.forward(x_TD, tape);
    dx_TD = layer.backward(x_TD, y_TD, tape, gradients);
    gradient = flatten(gradients);
  }
};

template <class X>
void expect_the_same_by_stages_and_whole(const std::vector<X>& experts, Index width, Index tokens) {
  std::mt19937_64 rng(1);
  const auto router = Router<float>::random(static_cast<Index>(experts.size()), width, rng);
  std::vector<Whole<X>> whole;
  for (const X& expert : experts) whole.push_back({expert});
  const Matrix<float> x_TD = support::random_matrix<float>(tokens, width, 2);
  const Pass a(router, experts, x_TD);
  const Pass b(router, whole, x_TD);
  EXPECT_TRUE(same_bits(a.y_TD, b.y_TD)) << width << ", " << tokens;
  EXPECT_TRUE(same_bits(a.dx_TD, b.dx_TD)) << width << ", " << tokens;
  EXPECT_TRUE(same_bits(a.gradient, b.gradient)) << width << ", " << tokens;
}

/// Hidden units for several tasks, and a rest that fills no panel.
TEST(LayerExperts, StagesGiveTheBitsOfTheWholeExpert) {
  constexpr Index experts = 3, width = 21, hidden = 1100;
  std::mt19937_64 rng(1);
  const auto mlps = make_experts<Mlp<float>>(experts, width, hidden, rng, ExpertOptions{.bias = true});
  const auto glus = make_experts<SwiGlu<float>>(experts, width, hidden, rng, ExpertOptions{.bias = true});
  for (const Index tokens : {0, 1, 5, 40}) {
    expect_the_same_by_stages_and_whole(mlps, width, tokens);
    expect_the_same_by_stages_and_whole(glus, width, tokens);
  }
}

/// Stage 1 has as many columns as the wider of input and output: several tasks, some of them for one side alone.
TEST(LayerExperts, OutputsMayBeWiderOrNarrowerThanInputs) {
  std::mt19937_64 rng(1);
  for (const auto& [width, outputs] : {std::pair<Index, Index>{20, 1100}, {1100, 20}, {517, 530}}) {
    std::vector<SwiGlu<float>> experts;
    for (int e = 0; e < 2; ++e) {
      experts.push_back(SwiGlu<float>::random(width, 40, rng, {.bias = true}));
      experts.back().w2_DF = random_matrix<float>(outputs, 40, rng);
      experts.back().b2_D = random_matrix<float>(outputs, 1, rng);
      experts.back().multiplier_F = random_matrix<float>(40, 1, rng);
    }
    expect_the_same_by_stages_and_whole(experts, width, 20);
  }
}

TEST(LayerExperts, WhatDerivesFromAStagedExpertKeepsItsOwnPass) {
  std::mt19937_64 rng(1);
  const auto router = Router<float>::random(2, 4, rng);
  const auto experts = make_experts<Mlp<float>>(2, 4, 8, rng);
  const Matrix<float> x_TD = support::random_matrix<float>(5, 4, 2);
  const std::vector<Doubled> doubled{{experts[0]}, {experts[1]}};
  EXPECT_EQ(Layer(router, TopK{.k = 2}, doubled).forward(x_TD), 2 * Layer(router, TopK{.k = 2}, experts).forward(x_TD));
}

TEST(LayerExperts, ExpertsMayHaveDifferentHiddenWidths) {
  std::mt19937_64 rng(1);
  std::vector<Mlp<float>> experts;
  for (const Index hidden : {3, 600, 17}) experts.push_back(Mlp<float>::random(8, hidden, rng));
  expect_the_same_by_stages_and_whole(experts, 8, 30);
}

TEST(LayerExperts, TasksAreColumnsOfExpertsWithSlots) {
  const Layer layer{Router<float>{Matrix<float>{{1}, {0}, {-1}}},
                    TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                    std::vector<Mlp<float>>(3, Mlp<float>{Matrix<float>::Ones(1100, 1), Matrix<float>::Ones(1, 1100)})};
  typename decltype(layer)::Tape tape;
  layer.forward(Matrix<float>{{1}, {-1}, {1}}, tape);  // experts 0 and 2
  std::vector<detail::ExpertTask> tasks;
  detail::list_column_tasks(tape.plan, 2, tasks, [](std::size_t) { return Index{1100}; });
  ASSERT_EQ(tasks.size(), 10u);
  EXPECT_EQ(tasks[4].expert, 0u);
  EXPECT_EQ(tasks[4].first, 1024);
  EXPECT_EQ(tasks[4].count, 76);
  EXPECT_EQ(tasks[5].expert, 2u);
  detail::list_column_tasks(tape.plan, 20, tasks, [](std::size_t) { return Index{1100}; });
  EXPECT_EQ(tasks.size(), 18u);
  EXPECT_EQ(tasks[1].first, 128);
}

// Two experts of 1100 columns for five threads: 2200 / 5 = 440, in steps of 64; for one, as many as are packed at once.
TEST(LayerExperts, TasksAreSmallerWhereThereWouldBeTooFew) {
  const Layer layer{Router<float>{Matrix<float>{{1}, {-1}}}, TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                    std::vector<Mlp<float>>(2, Mlp<float>{Matrix<float>::Ones(3, 1), Matrix<float>::Ones(1, 3)})};
  Matrix<float> x_TD = Matrix<float>::Ones(40, 1);
  x_TD.bottomRows(20) *= -1;
  typename decltype(layer)::Tape tape;
  layer.forward(x_TD, tape);
  const auto widest = [&](Index wanted) {
    std::vector<detail::ExpertTask> tasks;
    detail::list_column_tasks(tape.plan, wanted, tasks, [](std::size_t) { return Index{1100}; });
    return tasks.front().count;
  };
  EXPECT_EQ(widest(1), 512);
  EXPECT_EQ(widest(5), 384);
  EXPECT_EQ(widest(1000), 64);
}

/// The calling thread, which claims to be many: cut work as small as they would want it.
struct ManyThreads : Serial {
  Index threads_at_work() const { return 1000; }
};

template <class X>
using LayerOf = Layer<Router<float>, TopK, X>;

/// The bits of a training step, all of it on the calling thread: rows in blocks, where `Exec` says so.
template <class Exec, class X>
std::vector<Vector<double>> training_step(const std::vector<X>& experts, bool recompute) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(static_cast<Index>(experts.size()), 21, rng), TopK{.k = 2}, experts};
  const Matrix<float> x_TD = support::random_matrix<float>(120, 21, 2);
  typename decltype(layer)::Tape tape(3);
  std::vector<typename X::Tape> room;
  if (recompute) tape.recompute_in = &room;
  auto gradient = zeros_like(layer);
  const Matrix<float> y_TD = layer.forward(x_TD, tape, Exec{}),
                      dx_TD = layer.backward(x_TD, y_TD, tape, gradient, Exec{});
  return {y_TD.reshaped().template cast<double>(), dx_TD.reshaped().template cast<double>(), flatten(gradient)};
}

/// The outputs of passes that nothing is kept of: one with draws, if `draws`, which is not taken for the other.
template <class Exec, class X>
Matrix<float> inference(const std::vector<X>& experts, bool draws, typename LayerOf<X>::Tape& tape) {
  std::mt19937_64 rng(1);
  const LayerOf<X> layer{Router<float>::random(static_cast<Index>(experts.size()), 21, rng), TopK{.k = 2}, experts};
  tape.keep_activations = false;
  if (draws) tape.random.emplace(3);
  return layer.forward(support::random_matrix<float>(120, 21, 2), tape, Exec{});
}

template <class X>
void expect_the_same_by_blocks_of_rows(const std::vector<X>& experts) {
  for (const bool recompute : {false, true})
    EXPECT_EQ(training_step<Serial>(experts, recompute), training_step<ManyThreads>(experts, recompute));
  for (const bool draws : {false, true}) {
    typename LayerOf<X>::Tape by_stages, by_rows;
    EXPECT_TRUE(
        same_bits(inference<ManyThreads>(experts, draws, by_stages), inference<Serial>(experts, draws, by_rows)));
  }
}

TEST(LayerExperts, BlocksOfRowsGiveTheBitsOfOneStageAfterTheOther) {
  std::mt19937_64 rng(1);
  const ExpertOptions dropping{.bias = true, .dropout = 0.5};
  const auto mlps = make_experts<Mlp<float>>(3, 21, 1100, rng, dropping);
  const auto glus = make_experts<SwiGlu<float>>(3, 21, 1100, rng, dropping);
  expect_the_same_by_blocks_of_rows(mlps);
  expect_the_same_by_blocks_of_rows(glus);
  using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, Whole<Mlp<float>>>;
  expect_the_same_by_blocks_of_rows(std::vector<Any>{mlps[0], glus[1], mlps[2]});
  expect_the_same_by_blocks_of_rows(std::vector<Any>{mlps[0], glus[1], Whole<Mlp<float>>{mlps[2]}});
  constexpr int any = std::numeric_limits<int>::max();
  expect_the_same_by_blocks_of_rows(std::vector<Blocked>{{mlps[0], 7}, {mlps[1], any}, {mlps[2], 24}});
  using Derived = VariantExpert<float, Mlp<float>, Doubled>;  // Doubled has the block's rows of what it derives from
  expect_the_same_by_blocks_of_rows(std::vector<Derived>{mlps[0], Doubled{mlps[1]}, mlps[2]});
}

// What nobody reads again goes through the thread's own room. Which units are dropped depends on the row among all of
// the expert's.
TEST(LayerExperts, BlocksOfRowsLeaveNothingBehindInInference) {
  std::mt19937_64 rng(1);
  const auto experts = make_experts<Mlp<float>>(3, 21, 1100, rng, ExpertOptions{.dropout = 0.5});
  LayerOf<Mlp<float>>::Tape by_rows, by_stages, drawing;
  inference<Serial>(experts, false, by_rows);
  EXPECT_EQ(by_rows.x_ND.capacity(), 0);
  EXPECT_EQ(by_rows.experts[0].hidden_NF.capacity(), 0);
  inference<ManyThreads>(experts, false, by_stages);
  EXPECT_EQ(by_stages.x_ND.rows(), 240);
  inference<Serial>(experts, true, drawing);
  EXPECT_EQ(drawing.x_ND.rows(), 240);
}

/// Adds what a layer of its own type makes of the rows, in its last stage.
struct Tree : Mlp<float> {
  std::shared_ptr<const Layer<Router<float>, TopK, Tree>> inner = {};

  using StagesOf = Tree;
  static constexpr int stages = 3;
  Index rows_of_block() const { return inner ? 24 : 4; }
  Index forward_columns(int stage) const { return stage < 2 ? Mlp<float>::forward_columns(stage) : inner ? 1 : 0; }
  void forward_stage(int stage, ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape, Index row, Index first,
                     Index count) const {
    if (stage < 2) return Mlp<float>::forward_stage(stage, x, y, tape, row, first, count);
    y += inner->forward<Serial>(Matrix<float>(x));
  }
};

TEST(LayerExperts, APassInsideAPassDoesNotTakeItsRoom) {
  std::mt19937_64 rng(1);
  const auto mlps = make_experts<Mlp<float>>(3, 21, 40, rng);
  const Layer<Router<float>, TopK, Tree> inner{Router<float>::random(2, 21, rng), TopK{.k = 2},
                                               std::vector<Tree>{{mlps[0]}, {mlps[1]}}};
  const auto shared = std::make_shared<const Layer<Router<float>, TopK, Tree>>(inner);
  const std::vector<Tree> trees{{mlps[2], shared}, {mlps[1], shared}};
  LayerOf<Tree>::Tape kept, tape;
  const LayerOf<Tree> layer{Router<float>::random(2, 21, rng), TopK{.k = 2}, trees};
  const Matrix<float> x_TD = support::random_matrix<float>(120, 21, 2), y_TD = layer.forward(x_TD, kept, Serial{});
  tape.keep_activations = false;
  EXPECT_TRUE(same_bits(layer.forward(x_TD, tape, Serial{}), y_TD));
  EXPECT_EQ(tape.x_ND.rows(), 0);
}

/// One expert for each of these numbers of rows.
Plan<float> plan_of(const std::vector<Index>& rows) {
  Plan<float> plan;
  plan.chosen = rows;
  plan.first_slot = {0};
  for (const Index count : rows) plan.first_slot.push_back(plan.first_slot.back() + count);
  plan.token.resize(static_cast<std::size_t>(plan.first_slot.back()));
  return plan;
}

TEST(LayerExperts, RowsGoThroughAllStagesInBlocksWhereThatKeepsThreadsBusy) {
  std::mt19937_64 rng(1);
  const auto small = make_experts<Mlp<float>>(3, 21, 1100, rng);
  const Index most = small[0].rows_of_block();
  ASSERT_GT(most, 16);
  ASSERT_LT(most, 200);
  const auto plan = plan_of({most, 0, 2 * most + 1});
  std::vector<detail::ExpertTask> tasks;
  EXPECT_TRUE(detail::list_row_tasks(small, plan, 1, tasks));
  ASSERT_EQ(tasks.size(), 4u);
  EXPECT_EQ(tasks[0].count, most);
  EXPECT_EQ(tasks[1].expert, 2u);
  EXPECT_EQ(tasks[3].first + tasks[3].count, 2 * most + 1);
  EXPECT_FALSE(detail::list_row_tasks(small, plan, 2, tasks));
  EXPECT_FALSE(detail::list_row_tasks(small, plan_of({0, 0, 0}), 1, tasks));
}

// Their weights would be read from memory once for each block.
TEST(LayerExperts, LargeExpertsTakeOneStageAfterTheOther) {
  EXPECT_GT(detail::rows_of_block<float>(1 << 20, 1024), 0);
  EXPECT_EQ(detail::rows_of_block<float>((1 << 20) + 1, 1024), 0);
  EXPECT_EQ(detail::rows_of_block<double>(1 << 20, 1024), 0);
}

/// The passes of two layers, the second on the first one's output, forward and then backward.
template <class X>
std::vector<Vector<double>> passes_of_two_layers(const std::vector<X>& experts, bool recompute) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(static_cast<Index>(experts.size()), 8, rng), TopK{.k = 2}, experts};
  const Matrix<float> x_TD = support::random_matrix<float>(12, 8, 2);
  typename decltype(layer)::Tape first(3), second(4);
  std::vector<typename X::Tape> room;
  if (recompute) first.recompute_in = second.recompute_in = &room;
  auto first_gradient = zeros_like(layer), second_gradient = first_gradient;
  const Matrix<float> h_TD = layer.forward(x_TD, first), y_TD = layer.forward(h_TD, second);
  const Matrix<float> dh_TD = layer.backward(h_TD, y_TD, second, second_gradient);
  const Matrix<float> dx_TD = layer.backward(x_TD, dh_TD, first, first_gradient);
  EXPECT_EQ(room.size(), recompute ? experts.size() : 0);
  return {y_TD.reshaped().template cast<double>(), dx_TD.reshaped().template cast<double>(), flatten(first_gradient),
          flatten(second_gradient)};
}

TEST(LayerExperts, RecomputedActivationsGiveTheSameBits) {
  std::mt19937_64 rng(1);
  const auto same = [](const auto& experts) {
    EXPECT_EQ(passes_of_two_layers(experts, true), passes_of_two_layers(experts, false));
  };
  const ExpertOptions dropping{.bias = true, .dropout = 0.5};
  const auto mlps = make_experts<Mlp<float>>(3, 8, 20, rng, dropping);
  same(mlps);
  same(make_experts<SwiGlu<float>>(3, 8, 20, rng, dropping));
  same(std::vector<Whole<Mlp<float>>>{{mlps[0]}, {mlps[1]}, {mlps[2]}});
  using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, Whole<Mlp<float>>>;
  same(std::vector<Any>{mlps[0], SwiGlu<float>::random(8, 20, rng, dropping), Whole<Mlp<float>>{mlps[2]}});
}

TEST(LayerExperts, RecomputingKeepsNoActivationsInTheTape) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  typename decltype(layer)::Tape tape(1);
  std::vector<Mlp<float>::Tape> room;
  tape.recompute_in = &room;
  layer.forward(support::random_matrix<float>(5, 8, 2), tape);
  EXPECT_EQ(tape.experts[0].hidden_NF.size(), 0);
  EXPECT_EQ(room[0].hidden_NF.size(), 100);
}

// What an earlier pass kept, or another room holds, would be taken for this pass's.
TEST(LayerExperts, BackwardWantsTheRoomOfTheForwardPass) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  const Matrix<float> x_TD = support::random_matrix<float>(5, 8, 2);
  typename decltype(layer)::Tape tape(1);
  std::vector<Mlp<float>::Tape> room;
  auto gradient = zeros_like(layer);
  Matrix<float> dx_TD = Matrix<float>::Constant(5, 8, 7);
  layer.forward(x_TD, tape);
  tape.recompute_in = &room;
  EXPECT_THROW(layer.backward_into(x_TD, x_TD, tape, dx_TD, gradient), std::invalid_argument);
  EXPECT_EQ(dx_TD(0, 0), 7);
  layer.forward(x_TD, tape);
  EXPECT_EQ(tape.experts[0].hidden_NF.size(), 0);
  tape.recompute_in = nullptr;
  EXPECT_THROW(layer.backward_into(x_TD, x_TD, tape, dx_TD, gradient), std::invalid_argument);
}

/// The output of an inference pass has the bits of any other; no backward pass follows it, but other passes may.
template <class X>
void expect_inference_like_training(const std::vector<X>& experts, Index width) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(static_cast<Index>(experts.size()), width, rng), TopK{.k = 2}, experts};
  const Matrix<float> x_TD = support::random_matrix<float>(6, width, 2);
  typename decltype(layer)::Tape kept, tape;
  auto gradient = zeros_like(layer), wanted_gradient = gradient;
  const Matrix<float> y_TD = layer.forward(x_TD, kept);
  const Matrix<float> wanted_dx_TD = layer.backward(x_TD, y_TD, kept, wanted_gradient);
  EXPECT_TRUE(same_bits(layer.forward(x_TD), y_TD));
  for (int round = 0; round < 2; ++round) {
    tape.keep_activations = false;
    EXPECT_TRUE(same_bits(layer.forward(x_TD, tape), y_TD));
    EXPECT_EQ(layer.auxiliary_loss(tape), layer.auxiliary_loss(kept));
    tape.keep_activations = true;
    Matrix<float> dx_TD = Matrix<float>::Constant(6, width, 7);
    set_zero(gradient);
    EXPECT_THROW(layer.backward_into(x_TD, y_TD, tape, dx_TD, gradient), std::invalid_argument);
    EXPECT_TRUE((dx_TD.array() == 7).all());
    EXPECT_EQ(flatten(gradient).norm(), 0);
    EXPECT_TRUE(same_bits(layer.forward(x_TD, tape), y_TD));
    EXPECT_TRUE(same_bits(layer.backward(x_TD, y_TD, tape, gradient), wanted_dx_TD));
    EXPECT_EQ(flatten(gradient), flatten(wanted_gradient));
  }
}

// The widest tokens take sums in two parts, which are added up in memory.
TEST(LayerExperts, InferenceGivesTheSameBits) {
  std::mt19937_64 rng(1);
  const ExpertOptions bias{.bias = true};
  for (const Index width : {8, 1600}) {
    const auto mlps = make_experts<Mlp<float>>(3, width, 40, rng, bias);
    expect_inference_like_training(mlps, width);
    expect_inference_like_training(make_experts<Mlp<float, Gelu>>(3, width, 40, rng, bias), width);
    expect_inference_like_training(make_experts<SwiGlu<float>>(3, width, 40, rng, bias), width);
    expect_inference_like_training(std::vector<Whole<Mlp<float>>>{{mlps[0]}, {mlps[1]}, {mlps[2]}}, width);
    using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, Whole<Mlp<float>>>;
    const std::vector<Any> any{mlps[0], SwiGlu<float>::random(width, 40, rng, bias), Whole<Mlp<float>>{mlps[2]}};
    expect_inference_like_training(any, width);
    using Inner = Layer<Router<float>, TopK, Mlp<float>>;
    const Inner inner{Router<float>::random(3, width, rng), TopK{.k = 2}, mlps};
    expect_inference_like_training(std::vector<Inner>{inner, inner}, width);
  }
}

TEST(LayerExperts, InferenceKeepsTheHiddenUnitsAlone) {
  std::mt19937_64 rng(1);
  const Router<float> router = Router<float>::random(2, 8, rng);
  const Layer mlps{router, TopK{.k = 2}, make_experts<Mlp<float, Gelu>>(2, 8, 20, rng)};
  const Layer glus{router, TopK{.k = 2}, make_experts<SwiGlu<float>>(2, 8, 20, rng)};
  typename decltype(mlps)::Tape of_mlps;
  typename decltype(glus)::Tape of_glus;
  of_mlps.keep_activations = of_glus.keep_activations = false;
  mlps.forward(support::random_matrix<float>(5, 8, 2), of_mlps);
  glus.forward(support::random_matrix<float>(5, 8, 2), of_glus);
  EXPECT_EQ(of_mlps.experts[0].pre_NF.capacity(), 0);
  EXPECT_EQ(of_mlps.experts[0].hidden_NF.capacity(), 100);
  EXPECT_EQ(of_glus.experts[0].gate_NF.capacity() + of_glus.experts[0].up_NF.capacity(), 0);
  EXPECT_EQ(of_glus.experts[0].hidden_NF.capacity(), 100);
}

/// Whether a hidden unit is 0 tells whether it was so before ReLU, dropped or not.
TEST(LayerExperts, ReluKeepsTheHiddenUnitsAlone) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  typename decltype(layer)::Tape tape(1);
  layer.forward(support::random_matrix<float>(5, 8, 2), tape);
  EXPECT_EQ(tape.experts[0].pre_NF.capacity(), 0);
  EXPECT_EQ(tape.experts[0].hidden_NF.capacity(), 100);
}

// The tape then has no expert's activations, of no type.
TEST(LayerExperts, TheCostOfARecomputedPassIsThatOfAKeptOne) {
  std::mt19937_64 rng(1);
  using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>>;
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2},
                    std::vector<Any>{Mlp<float>::random(8, 20, rng), SwiGlu<float>::random(8, 20, rng)}};
  const Matrix<float> x_TD = support::random_matrix<float>(5, 8, 2);
  typename decltype(layer)::Tape kept(1), recomputed(1);
  std::vector<Any::Tape> room;
  recomputed.recompute_in = &room;
  layer.forward(x_TD, kept);
  layer.forward(x_TD, recomputed);
  EXPECT_EQ(cost_of(layer, kept).multiply_adds, cost_of(layer, recomputed).multiply_adds);
}

/// Says how many tasks it runs at a time, in a type of its own.
struct Threads {
  int count;
  int threads_at_work() const { return count; }
  template <class F>
  void parallel_for(Index tasks, F&& f) const {
    Serial{}.parallel_for(tasks, f);
  }
};

TEST(LayerExperts, AnyIntegerSaysHowManyThreadsThereAre) {
  EXPECT_EQ(detail::tasks_to_occupy(Threads{3}), 3);
  EXPECT_EQ(detail::tasks_to_occupy(Threads{-1}), 1);
}

TEST(LayerExperts, ExpertsThatAreLayersAreNotRecomputed) {
  std::mt19937_64 rng(1);
  using Inner = Layer<Router<float>, TopK, Mlp<float>>;
  const Inner inner{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, std::vector<Inner>{inner, inner}};
  typename decltype(layer)::Tape tape(1);
  std::vector<Inner::Tape> room;
  tape.recompute_in = &room;
  EXPECT_THROW(layer.forward(support::random_matrix<float>(5, 8, 2), tape), std::invalid_argument);
}

}  // namespace run_experts_test
}  // namespace moe
