// Sizes that do not fit are refused by our own checks: this is compiled without assertions, so that Eigen's, which
// would stop the program first, do not help. Under a sanitizer nothing outside of the memory may be touched either.
#include <gtest/gtest.h>

#include <cassert>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

#ifndef NDEBUG
#error "compile with -DNDEBUG"
#endif

namespace moe {
namespace mismatch_test {

using support::expect_invalid;
using support::random_matrix;

constexpr Index tokens = 6, experts = 4, width = 3, hidden = 5;
const Matrix<float> x_TD = random_matrix<float>(tokens, width, 1);
const std::vector<std::int64_t> ids{0, 1, 2, 3, 0, 1};
const Matrix<float> logits_TE = random_matrix<float>(tokens, experts, 2);

Batch<float> batch_of(const Matrix<float>& x) {
  Batch<float> batch = x;
  batch.ids = std::vector<std::int64_t>(static_cast<std::size_t>(x.rows()), 0);
  return batch;
}

Routing<float> undecided(Index rows = tokens, Index columns = experts) {
  Routing<float> routing;
  routing.reset(batch_of(Matrix<float>::Zero(rows, width)), columns);
  routing.logits_TE = random_matrix<float>(rows, columns, 2);
  return routing;
}

/// All of a part that refuse without a word about the rest.
template <class Call>
void expect_refused(const std::string& what, Call&& call) {
  SCOPED_TRACE(what);
  expect_invalid(call, {"moe: "});
}

// Gates, called directly.

template <class F>
void for_each_gate(F&& f) {
  std::mt19937_64 rng(3);
  f("Softmax", Softmax{});
  f("TopK", TopK{.k = 2});
  f("TopK renormalized", TopK{.k = 2, .weights = ChoiceWeights::renormalized({.norm = 2})});
  f("VariableTopK", VariableTopK{.k_T = {2, 0, 3, 2, 4, 2}});
  f("ScoredTopK", ScoredTopK{.k = 2, .selection_bias_E = Vector<double>::Ones(experts), .groups = 2, .groups_used = 1});
  f("TopP", TopP{});
  f("Threshold", Threshold{});
  f("ReLU", ReluRouting{});
  f("OptionalChoices", gshard_top2());
  f("SparseMixer", SparseMixer{.k = 2});
  f("ExpertChoice", ExpertChoice{});
  f("ExpertChoice over tokens", ExpertChoice{.softmax_axis = ExpertChoice::Axis::tokens, .average = true});
  f("Hash", Hash{{{0, 1, 2, 3}, {1, 2, 3, 0}}});
  f("Hash with scores", Hash{.tables = {{0, 1, 2, 3}, {1, 2, 3, 0}}, .weights = Scores::sigmoid()});
  f("Replay", Replay<float>::uniform(tokens, experts, 2));
  f("Replay, weighed", [] {
    auto replay = Replay<float>::uniform(tokens, experts, 2);
    replay.weights = ChoiceWeights::softmax_of_chosen();
    return replay;
  }());
  f("Sinkhorn", Sinkhorn{.k = 2});
  f("BaseAssignment", BaseAssignment{});
  f("NoTokenLeftBehind", NoTokenLeftBehind{});
  f("GumbelNoise", GumbelNoise<TopK>{{.k = 2}});
  f("FixedNoise", FixedNoise{TopK{.k = 2}, 1.0});
  f("Prioritized", Prioritized{TopK{.k = 2}, Priority::best_weight});
  f("VariantGate", VariantGate<float, TopK, ScoredTopK>{ScoredTopK{.k = 2}});
  auto noisy = NoisyTopK<float>::zeros(experts, width, {.k = 2});
  noisy.noise_weight_ED = random_matrix<float>(experts, width, 4);
  f("NoisyTopK", noisy);
}

template <class G>
void backward(const G& gate, const Batch<float>& batch, const Routing<float>& routing, Routing<float>& drouting,
              Matrix<float>& dx_TD) {
  G gradient = gate;
  if constexpr (ParameterFreeGate<G, float>)
    gate.backward(routing, drouting);
  else
    gate.backward(batch, routing, drouting, dx_TD, gradient);
}

TEST(NoAssertions, GatesRefuseRoutingsThatDoNotFit) {
  for_each_gate([](const std::string& name, const auto& gate) {
    for (const bool training : {false, true}) {
      Random random(1);
      const auto route = [&](const Matrix<float>& x, Routing<float> routing) {
        gate.route(batch_of(x), routing, training ? &random : nullptr);
        return routing;
      };
      const auto mutated = [](auto&& change) {
        Routing<float> routing = undecided();
        change(routing);
        return routing;
      };
      EXPECT_NO_THROW(route(x_TD, undecided())) << name;
      expect_refused(name + ": fewer tokens", [&] { route(x_TD.topRows(2), undecided()); });
      expect_refused(name + ": more tokens", [&] { route(Matrix<float>::Ones(9, width), undecided()); });
      expect_refused(name + ": no experts", [&] { route(x_TD, undecided(tokens, 0)); });
      expect_refused(name + ": probabilities of another size",
                     [&] { route(x_TD, mutated([](auto& r) { r.probabilities_TE.resize(2, 2); })); });
      expect_refused(name + ": a short mask", [&] { route(x_TD, mutated([](auto& r) { r.valid_T.resize(1); })); });
      expect_refused(name + ": tokens counted wrongly",
                     [&] { route(x_TD, mutated([](auto& r) { r.valid_tokens = 1; })); });
    }
  });
}

/// One expert: some gates still fit, none may leave its memory.
TEST(NoAssertions, GatesOnAnotherNumberOfExpertsAreRefusedOrFit) {
  for_each_gate([](const std::string& name, const auto& gate) {
    for (const Index columns : {1, 2, 3, 17, 65})
      for (const bool training : {false, true}) {
        Routing<float> routing = undecided(tokens, columns);
        Random random(1);
        try {
          gate.route(batch_of(x_TD), routing, training ? &random : nullptr);
          EXPECT_NO_THROW(routing.check()) << name << ", " << columns << " experts";
        } catch (const std::invalid_argument&) {
        }
      }
  });
}

TEST(NoAssertions, GatesRefuseGradientsThatDoNotFit) {
  for_each_gate([](const std::string& name, const auto& gate) {
    Random random(1);
    const Batch<float> batch = batch_of(x_TD);
    Routing<float> routing = undecided();
    gate.route(batch, routing, &random);
    Matrix<float> dx_TD = Matrix<float>::Zero(tokens, width);
    const auto call = [&](auto&& change, const Routing<float>& of) {
      Routing<float> drouting;
      drouting.reset_gradient(routing);
      change(drouting);
      backward(gate, batch, of, drouting, dx_TD);
    };
    const auto nothing = [](auto&) {};
    EXPECT_NO_THROW(call(nothing, routing)) << name;
    expect_refused(name + ": logits", [&] { call([](auto& d) { d.logits_TE.resize(1, 1); }, routing); });
    expect_refused(name + ": probabilities", [&] { call([](auto& d) { d.probabilities_TE.resize(1, 1); }, routing); });
    expect_refused(name + ": choices", [&] { call([](auto& d) { d.choices.clear(); }, routing); });
    expect_refused(name + ": noise", [&] { call([](auto& d) { d.noise.drawn = !d.noise.drawn; }, routing); });
    if (routing.noise.drawn)
      expect_refused(name + ": noisy logits", [&] { call([](auto& d) { d.noise.logits_TE.resize(1, 1); }, routing); });
    Routing<float> other = routing;
    other.choices.front().expert = experts;
    expect_refused(name + ": an expert that is not there", [&] { call(nothing, other); });
    other.choices.front().expert = 0;
    other.choices.front().token = -1;
    expect_refused(name + ": a token that is not there", [&] { call(nothing, other); });
    other = routing;
    other.valid_T.clear();
    expect_refused(name + ": no mask", [&] { call(nothing, other); });
  });
}

/// Gates whose settings were changed between the passes: what the forward pass did not leave is refused.
TEST(NoAssertions, GatesThatHaveChangedAreRefusedOrFit) {
  const Batch<float> batch = batch_of(x_TD);
  const auto routed = [&](const auto& gate) {
    Routing<float> routing = undecided();
    gate.route(batch, routing, nullptr);
    return routing;
  };
  const auto call = [](const auto& gate, const Routing<float>& routing) {
    Routing<float> drouting;
    drouting.reset_gradient(routing);
    gate.backward(routing, drouting);
  };
  Hash hash{{{0, 1, 2, 3}, {1, 2, 3, 0}}};
  const auto by_table = routed(hash);
  hash.weights = Scores::sigmoid();
  expect_refused("Hash", [&] { call(hash, by_table); });
  auto replay = Replay<float>::uniform(tokens, experts, 2);
  const auto recorded = routed(replay);
  replay.weights = Scores::sigmoid();
  expect_refused("Replay", [&] { call(replay, recorded); });
  const auto of_three = routed(SparseMixer{.k = 3});
  expect_refused("SparseMixer", [&] { call(SparseMixer{.k = 2}, of_three); });
  EXPECT_NO_THROW(call(SparseMixer{.k = 4}, of_three));
  EXPECT_NO_THROW(call(TopK{.k = 4}, of_three));
}

// Losses and objectives.

template <class F>
void for_each_loss(F&& f) {
  using Count = LoadBalanceLoss::Count;
  f("importance", ImportanceLoss{});
  f("importance, clean", ImportanceLoss{.source = ImportanceLoss::Source::clean_probabilities});
  for (const auto threshold : {LoadLoss::Threshold::excluding_itself, LoadLoss::Threshold::kth_largest,
                               LoadLoss::Threshold::among_probabilities, LoadLoss::Threshold::of_probabilities})
    f("load", LoadLoss{.threshold = threshold});
  for (const auto count :
       {Count::first_choices, Count::all_choices, Count::all_choices_share, Count::kept_first_choices,
        Count::dropped_to_first_expert, Count::kept_first_choices_share, Count::plain_top_k_share})
    for (const auto scope : {LoadBalanceLoss::Scope::batch, LoadBalanceLoss::Scope::sequence})
      f("load balance", LoadBalanceLoss{.count = count, .scope = scope});
  f("router z", RouterZLoss{});
  f("second choice", SecondChoiceLoss{});
  f("token balance", TokenBalanceLoss{});
  f("score variance", ScoreVarianceLoss{});
  f("ReLU balance", ReluBalanceLoss{});
  f("entropy", EntropyLoss{.kind = EntropyLoss::Kind::mutual_information});
  f("entropy of a modality", EntropyLoss{.modality = 0, .modality_of_token = std::vector<std::int8_t>(tokens, 0)});
  f("device balance", DeviceBalanceLoss{.devices = 2});
  f("communication", DeviceBalanceLoss{.devices = 2, .kind = DeviceBalanceLoss::Kind::communication});
  f("labels", GateLabelLoss{.label_of_token = std::vector<Index>(tokens, 1)});
}

TEST(NoAssertions, LossesRefuseRoutingsThatDoNotFit) {
  Routing<float> decided = undecided();
  Random random(1);
  FixedNoise{TopK{.k = 2}, 1.0}.route(batch_of(x_TD), decided, &random);
  const std::vector<std::pair<const char*, std::function<void(Routing<float>&)>>> mistakes{
      {"probabilities", [](auto& r) { r.probabilities_TE.resize(2, 2); }},
      {"mask", [](auto& r) { r.valid_T.resize(2); }},
      {"groups", [](auto& r) { r.group_size = 4; }},
      {"larger groups", [](auto& r) { r.group_size = 60; }},
      {"noise", [](auto& r) { r.noise.logits_TE.resize(1, 1); }},
      {"deviation", [](auto& r) { r.noise.stddev_TE.resize(1, 1); }},
      {"expert", [](auto& r) { r.choices.back().expert = experts; }},
      {"token", [](auto& r) { r.choices.front().token = tokens; }},
  };
  for_each_loss([&](const std::string& name, const auto& loss) {
    Routing<float> drouting;
    drouting.reset_gradient(decided);
    EXPECT_NO_THROW(loss.backward(decided, 1.0f, drouting)) << name;
    for (const auto& [what, mistake] : mistakes) {
      Routing<float> routing = decided;
      mistake(routing);
      expect_refused(name + ", " + what, [&] { (void)loss.value(routing); });
      expect_refused(name + ", " + what + ", backward", [&] { loss.backward(routing, 1.0f, drouting); });
      Routing<float> gradient = drouting;
      mistake(gradient);
      if (std::string(what) == "probabilities" || std::string(what) == "noise" || std::string(what) == "deviation")
        expect_refused(name + ", the gradient's " + what, [&] { loss.backward(decided, 1.0f, gradient); });
    }
    Routing<float> gradient = drouting;
    gradient.choices.pop_back();
    expect_refused(name + ", the gradient's choices", [&] { loss.backward(decided, 1.0f, gradient); });
  });
}

/// 20 tables over 4 experts are more choices than experts; with 5 to 16 tables too.
TEST(NoAssertions, MoreChoicesThanExperts) {
  for (const std::size_t tables : {std::size_t{5}, std::size_t{16}, std::size_t{20}}) {
    const Layer layer{NoRouter<float>{experts}, Hash{std::vector<std::vector<Index>>(tables, {0, 1, 2, 3})},
                      std::vector<Linear<float>>(experts, Linear<float>{Matrix<float>::Identity(width, width)}),
                      Losses{LoadBalanceLoss{.count = LoadBalanceLoss::Count::plain_top_k_share}}};
    Batch<float> batch = x_TD;
    batch.ids = ids;
    decltype(layer)::Tape tape;
    auto gradient = zeros_like(layer);
    layer.forward(batch, tape);
    expect_invalid([&] { layer.backward(batch, x_TD, tape, gradient); }, {"plain_top_k_share"});
    expect_invalid([&] { (void)layer.auxiliary_loss(tape); }, {"plain_top_k_share"});
  }
}

TEST(NoAssertions, EarlierCountsOfAnotherNumberOfExperts) {
  Routing<float> routing = undecided();
  TopK{.k = 2}.route(batch_of(x_TD), routing, nullptr);
  for (const Index count : {1, 2, 64}) {
    LoadBalanceLoss loss;
    loss.earlier = {Vector<double>::Ones(count), 1};
    expect_refused("earlier counts", [&] { loss.add_earlier(routing); });
    expect_refused("value", [&] { (void)loss.value(routing); });
  }
}

TEST(NoAssertions, Objectives) {
  const Layer layer{Router<float>{logits_TE.topRows(experts).leftCols(width)}, TopK{.k = 2},
                    std::vector<Linear<float>>(experts, Linear<float>{Matrix<float>::Identity(width, width)})};
  decltype(layer)::Tape tape;
  layer.forward(x_TD, tape);
  const auto& plan = tape.plan;
  const Matrix<float> y = tape.y_NO, fewer = y.topRows(1), narrow = x_TD.leftCols(1), few = x_TD.topRows(1);
  const auto expect_checked = [&](const auto& loss) {
    Matrix<float> dy = y, small_dy = fewer;
    Vector<float> dweight = Vector<float>::Constant(plan.slots(), 7), few_weights = Vector<float>::Constant(1, 7);
    const Matrix<float> before = dy;
    expect_refused("outputs", [&] { (void)loss.value(plan, fewer, x_TD); });
    for (const auto* target : {&narrow, &few}) {
      expect_refused("targets", [&] { (void)loss.value(plan, y, *target); });
      expect_refused("targets", [&] { loss.backward(plan, y, *target, 1, dy, dweight); });
    }
    expect_refused("gradient", [&] { loss.backward(plan, y, x_TD, 1, small_dy, dweight); });
    expect_refused("no plan", [&] { loss.backward(Plan<float>{}, y, x_TD, 1, dy, dweight); });
    expect_refused("few weights", [&] { loss.backward(plan, y, x_TD, 1, dy, few_weights); });
    EXPECT_EQ(dweight, Vector<float>::Constant(plan.slots(), 7));
    EXPECT_EQ(dy, before);
    EXPECT_NO_THROW(loss.backward(plan, y, x_TD, 1, dy, dweight));
  };
  expect_checked(CooperativeLoss{});
  expect_checked(CompetitiveLoss{});
  expect_checked(MixtureNegativeLogLikelihood{});
}

TEST(NoAssertions, HierarchicalMixtures) {
  std::mt19937_64 rng(5);
  const auto branch = [&](Index count) {
    return Layer{Router<float>::random(count, width, rng), Softmax{},
                 make_experts<Linear<float>>(count, width, 2, rng)};
  };
  const auto outer_of = [&](Index count) {
    std::vector<decltype(branch(2))> branches;
    for (Index e = 0; e < count; ++e) branches.push_back(branch(2));
    return Layer{Router<float>::random(count, width, rng), Softmax{}, branches};
  };
  const auto outer = outer_of(2), other = outer_of(3);
  std::remove_const_t<decltype(outer)>::Tape tape, other_tape, empty;
  auto gradient = zeros_like(outer), smaller = gradient;
  smaller.experts.pop_back();
  outer.forward(x_TD, tape);
  other.forward(x_TD, other_tape);
  const HierarchicalMixtureLoss loss;
  const Matrix<float> target = x_TD.leftCols(2);
  expect_refused("no pass", [&] { (void)loss.value(empty, target); });
  expect_refused("targets", [&] { (void)loss.value(tape, target.topRows(2)); });
  expect_refused("narrow targets", [&] { (void)loss.value(tape, target.leftCols(1)); });
  expect_refused("another tape", [&] { loss.backward(outer, x_TD, target, other_tape, 1, gradient); });
  expect_refused("another gradient", [&] { loss.backward(outer, x_TD, target, tape, 1, smaller); });
  expect_refused("fewer tokens", [&] { loss.backward(outer, x_TD.topRows(2), target, tape, 1, gradient); });
  expect_refused("fewer targets", [&] { loss.backward(outer, x_TD, target.topRows(2), tape, 1, gradient); });
  EXPECT_TRUE(support::same_parameters(gradient, zeros_like(outer)));
  EXPECT_NO_THROW(loss.backward(outer, x_TD, target, tape, 1, gradient));
}

TEST(NoAssertions, LossesOnRowsAndParameters) {
  const Matrix<float> few = x_TD.topRows(2), narrow = x_TD.leftCols(1);
  Matrix<float> gradient = x_TD, small_gradient = few;
  const std::vector<Index> labels(tokens, 0), few_labels(2, 0), wrong(tokens, width);
  expect_refused("labels", [&] { (void)CrossEntropyLoss{}.value<float>(x_TD, few_labels); });
  expect_refused("labels", [&] { (void)CrossEntropyLoss{}.value<float>(x_TD, wrong); });
  expect_refused("gradient", [&] { CrossEntropyLoss{}.backward<float>(x_TD, labels, 1, small_gradient); });
  for (const auto* teacher : {&few, &narrow}) {
    expect_refused("teacher", [&] { (void)MeanSquaredDistillation{}.value<float>(x_TD, *teacher); });
    expect_refused("teacher", [&] { (void)SoftLabelDistillation{}.value<float>(x_TD, *teacher); });
    expect_refused("teacher", [&] { SoftLabelDistillation{}.backward<float>(x_TD, *teacher, 1, gradient); });
  }
  expect_refused("student", [&] { MeanSquaredDistillation{}.backward<float>(x_TD, x_TD, 1, small_gradient); });
  expect_refused("diversity", [&] { ExpertDiversityLoss{}.backward(x_TD, 1, small_gradient); });
  expect_refused("orthogonality", [&] { RouterOrthogonalityLoss{}.backward(x_TD, 1, small_gradient); });
  expect_refused("similarity", [&] { SimilarityBalanceLoss{}.backward(x_TD, 1, small_gradient); });
}

// Routers, experts and mixes, called directly.

template <class R>
void expect_router_checked(R router) {
  typename R::Tape tape, empty;
  Random random(1);
  Routing<float> routing = undecided(), small = undecided(2), fewer = undecided(tokens, 2);
  expect_refused("width", [&] { router.forward(Matrix<float>::Ones(tokens, 7), routing, tape, &random); });
  expect_refused("tokens", [&] { router.forward(x_TD, small, tape, &random); });
  expect_refused("experts", [&] { router.forward(x_TD, fewer, tape, &random); });
  Batch<float> masked = x_TD;
  masked.valid = {1, 0};
  expect_refused("mask", [&] { router.forward(masked, routing, tape, &random); });
  router.forward(x_TD, routing, tape, &random);
  Routing<float> drouting, small_gradient;
  drouting.reset_gradient(routing);
  small_gradient.reset_gradient(small);
  Matrix<float> dx = Matrix<float>::Zero(tokens, width), small_dx(2, width), narrow_dx(tokens, 1);
  R gradient = zeros_like(router);
  expect_refused("tokens", [&] { router.backward(x_TD.topRows(2), routing, drouting, tape, dx, gradient); });
  expect_refused("width", [&] { router.backward(x_TD.leftCols(1), routing, drouting, tape, dx, gradient); });
  expect_refused("routing", [&] { router.backward(x_TD, small, drouting, tape, dx, gradient); });
  expect_refused("gradient", [&] { router.backward(x_TD, routing, small_gradient, tape, dx, gradient); });
  expect_refused("dx", [&] { router.backward(x_TD, routing, drouting, tape, small_dx, gradient); });
  expect_refused("dx", [&] { router.backward(x_TD, routing, drouting, tape, narrow_dx, gradient); });
  expect_refused("itself", [&] { router.backward(x_TD, routing, drouting, tape, dx, router); });
  Routing<float> unmarked = routing;
  unmarked.valid_T.resize(1);
  expect_refused("mask", [&] { router.backward(x_TD, unmarked, drouting, tape, dx, gradient); });
  unmarked = routing;
  unmarked.valid_tokens = 2;
  expect_refused("count", [&] { router.backward(x_TD, unmarked, drouting, tape, dx, gradient); });
  R other = gradient;
  for_each_parameter([](std::string_view, auto& p) { p.resize(p.rows() + 1, p.cols()); }, other);
  expect_refused("another gradient", [&] { router.backward(x_TD, routing, drouting, tape, dx, other); });
  typename R::Tape of_small;
  router.forward(x_TD.topRows(2), small, of_small, &random);
  if constexpr (
      requires { of_small.jittered; } || requires { of_small.projected_TP; })
    expect_refused("tape", [&] { router.backward(x_TD, routing, drouting, of_small, dx, gradient); });
  EXPECT_TRUE(support::same_parameters(gradient, zeros_like(router)));
  EXPECT_NO_THROW(router.backward(x_TD, routing, drouting, tape, dx, gradient));
}

TEST(NoAssertions, Routers) {
  std::mt19937_64 rng(6);
  auto router = Router<float>::random(experts, width, rng);
  router.jitter = 0.1;
  expect_router_checked(router);
  expect_router_checked(CosineRouter<float>::random(experts, width, 5, rng));
  Router<float> biased = router;
  biased.bias_E.setZero(2);
  Routing<float> routing = undecided();
  Router<float>::Tape tape;
  expect_refused("bias", [&] { biased.forward(x_TD, routing, tape, nullptr); });
}

template <class X>
void expect_expert_checked(const std::string& name, X expert, bool any_width = false) {
  SCOPED_TRACE(name);
  typename X::Tape tape, empty;
  const Index outputs = detail::output_width(expert, width);
  Matrix<float> y(tokens, outputs), dy = Matrix<float>::Ones(tokens, outputs), dx(tokens, width);
  Matrix<float> few_y(2, outputs), few_x(2, width), narrow(tokens, 1), wide(tokens, 9);
  X gradient = zeros_like(expert);
  if (!any_width) {
    expect_refused("width", [&] { expert.forward(narrow, y, tape); });
    expect_refused("width", [&] { expert.forward(wide, y, tape); });
    expect_refused("y", [&] { expert.forward(x_TD, few_y, tape); });
    expect_refused("y", [&] { expert.forward(x_TD, wide, tape); });
  }
  expert.forward(x_TD, y, tape);
  if (!any_width) {
    expect_refused("x", [&] { expert.backward(wide, dy, tape, dx, gradient); });
    expect_refused("dy", [&] { expert.backward(x_TD, few_y, tape, dx, gradient); });
    expect_refused("dy", [&] { expert.backward(x_TD, wide, tape, dx, gradient); });
    expect_refused("dx", [&] { expert.backward(x_TD, dy, tape, few_x, gradient); });
    expect_refused("dx", [&] { expert.backward(x_TD, dy, tape, narrow, gradient); });
  }
  if (parameter_count(expert) > 0) {
    X other = gradient;
    for_each_parameter([](std::string_view, auto& p) { p.resize(p.rows() + 1, p.cols()); }, other);
    expect_refused("gradient", [&] { expert.backward(x_TD, dy, tape, dx, other); });
    expect_refused("itself", [&] { expert.backward(x_TD, dy, tape, dx, expert); });
  }
  if constexpr (!std::is_empty_v<typename X::Tape>)
    expect_refused("no pass", [&] { expert.backward(x_TD, dy, empty, dx, gradient); });
  EXPECT_EQ(flatten(gradient).squaredNorm(), 0);
  EXPECT_NO_THROW(expert.backward(x_TD, dy, tape, dx, gradient));
}

TEST(NoAssertions, Experts) {
  std::mt19937_64 rng(7);
  const ExpertOptions all{.bias = true, .multiplier = true};
  expect_expert_checked("Mlp", Mlp<float>::random(width, hidden, rng, {.bias = true}));
  expect_expert_checked("Mlp Gelu", Mlp<float, Gelu>::random(width, hidden, rng));
  expect_expert_checked("SwiGlu", SwiGlu<float>::random(width, hidden, rng, all));
  expect_expert_checked("Linear", Linear<float>::random(width, 2, rng));
  expect_expert_checked("ConstantExpert", ConstantExpert<float>::random(width, rng));
  expect_expert_checked("ZeroExpert", ZeroExpert<float>{}, true);
  using Any = VariantExpert<float, Linear<float>, SwiGlu<float>>;
  expect_expert_checked("VariantExpert", Any{SwiGlu<float>::random(width, hidden, rng)});
  const Layer layer{Router<float>::random(experts, width, rng), TopK{.k = 2},
                    make_experts<SwiGlu<float>>(experts, width, hidden, rng)};
  expect_expert_checked("Layer", layer);
  expect_expert_checked("Shared", Shared{layer, Linear<float>::random(width, width, rng)});
  const IdentityExpert<float> identity;
  IdentityExpert<float>::Tape tape;
  IdentityExpert<float> gradient;
  Matrix<float> few(2, width);
  expect_refused("IdentityExpert", [&] { identity.forward(x_TD, few, tape); });
  expect_refused("IdentityExpert", [&] { identity.backward(x_TD, x_TD, tape, few, gradient); });
}

TEST(NoAssertions, Mixes) {
  std::mt19937_64 rng(8);
  const auto expect_checked = [&](auto mix) {
    auto gradient = zeros_like(mix);
    Matrix<float> mix_N2(tokens, 2), few(2, 2), one(tokens, 1), dx = Matrix<float>::Zero(tokens, width);
    Matrix<float> dmix = Matrix<float>::Ones(tokens, 2), few_dx(2, width);
    expect_refused("x", [&] { mix.forward(Matrix<float>::Ones(tokens, 7), mix_N2); });
    for (auto* wrong : {&few, &one}) expect_refused("mix", [&] { mix.forward(x_TD, *wrong); });
    mix.forward(x_TD, mix_N2);
    for (auto* wrong : {&few, &one}) {
      expect_refused("mix", [&] { mix.backward(x_TD, *wrong, dmix, dx, gradient); });
      expect_refused("dmix", [&] { mix.backward(x_TD, mix_N2, *wrong, dx, gradient); });
    }
    expect_refused("dx", [&] { mix.backward(x_TD, mix_N2, dmix, few_dx, gradient); });
    expect_refused("itself", [&] { mix.backward(x_TD, mix_N2, dmix, dx, mix); });
    EXPECT_NO_THROW(mix.backward(x_TD, mix_N2, dmix, dx, gradient));
  };
  expect_checked(SigmoidMix<float>::random(width, rng));
  expect_checked(SoftmaxMix<float>::random(width, rng, true));
}

// Layers.

TEST(NoAssertions, SoftLayersRefuseAnotherBatch) {
  std::mt19937_64 rng(9);
  const SoftLayer<float, Linear<float>> soft{moe::random_matrix<float>(4, width, rng),
                                             make_experts<Linear<float>>(2, width, width, rng)};
  const Matrix<float> many = random_matrix<float>(240, width, 5);
  decltype(soft)::Tape tape;
  auto gradient = zeros_like(soft);
  soft.forward(many, tape);
  for (const Index group_size : {1, 2, 60}) {
    Batch<float> batch = many;
    batch.group_size = group_size;
    expect_refused("groups", [&] { soft.backward(batch, many, tape, gradient); });
  }
  Batch<float> batch = many;
  batch.valid = std::vector<std::uint8_t>(240, 0);
  expect_refused("mask", [&] { soft.backward(batch, many, tape, gradient); });
  expect_refused("tokens", [&] { soft.backward(x_TD, x_TD, tape, gradient); });
  expect_refused("dy", [&] { soft.backward(many, x_TD, tape, gradient); });
  EXPECT_NO_THROW(soft.backward(many, many, tape, gradient));
  EXPECT_NO_THROW((void)cost_of(soft, tape));
}

TEST(NoAssertions, LayersRefuseGradientsOfSlotsAndInputs) {
  std::mt19937_64 rng(10);
  const Layer layer{Router<float>::random(experts, width, rng), TopK{.k = 2},
                    make_experts<SwiGlu<float>>(experts, width, hidden, rng)};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  Matrix<float> dx(tokens, width), few_dx(2, width);
  const Matrix<float> slots = Matrix<float>::Zero(12, width), few = slots.topRows(3), narrow = slots.leftCols(1);
  const Vector<float> weights = Vector<float>::Zero(12), few_weights = weights.head(3);
  for (const auto* rows : {&few, &narrow}) {
    expect_refused("slots", [&] { layer.backward_from_slots(x_TD, *rows, weights, tape, dx, gradient); });
    expect_refused("inputs", [&] { layer.backward_from_inputs(x_TD, *rows, weights, tape, dx, gradient); });
  }
  expect_refused("weights", [&] { layer.backward_from_slots(x_TD, slots, few_weights, tape, dx, gradient); });
  expect_refused("weights", [&] { layer.backward_from_inputs(x_TD, slots, few_weights, tape, dx, gradient); });
  expect_refused("dx", [&] { layer.backward_from_slots(x_TD, slots, weights, tape, few_dx, gradient); });
  EXPECT_NO_THROW(layer.backward_from_slots(x_TD, slots, weights, tape, dx, gradient));
}

/// What one tape holds, given to a layer of another shape.
TEST(NoAssertions, TapesOfOtherLayers) {
  std::mt19937_64 rng(11);
  const auto layer_of = [&](Index count, Index k) {
    return Layer{Router<float>::random(count, width, rng), TopK{.k = k},
                 make_experts<SwiGlu<float>>(count, width, hidden, rng), Losses{LoadBalanceLoss{}, RouterZLoss{}}};
  };
  const auto layer = layer_of(4, 2), more = layer_of(6, 3);
  std::remove_const_t<decltype(layer)>::Tape tape;
  auto gradient = zeros_like(more);
  layer.forward(x_TD, tape);
  expect_refused("backward", [&] { more.backward(x_TD, x_TD, tape, gradient); });
  expect_refused("auxiliary_loss", [&] { (void)more.auxiliary_loss(tape); });
  expect_refused("cost_of", [&] { (void)cost_of(more, tape); });
}

// Plans and the movers of rows.

TEST(NoAssertions, PlansAndMovers) {
  Routing<float> routing = undecided(), drouting;
  TopK{.k = 2}.route(batch_of(x_TD), routing, nullptr);
  Plan<float> plan;
  const Batch<float> few = x_TD.topRows(2);
  expect_refused("tokens", [&] { plan.build(few, routing, Capacity::unlimited(), false); });
  Routing<float> unmarked = routing;
  unmarked.valid_T.clear();
  expect_refused("mask", [&] { plan.build(x_TD, unmarked, Capacity::unlimited(), false); });
  Batch<float> grouped = x_TD;
  grouped.group_size = 4;
  expect_refused("groups", [&] { plan.build(grouped, routing, Capacity::unlimited(), false); });
  plan.build(x_TD, routing, Capacity::exactly(1), false);
  const Index slots = plan.slots();
  drouting.reset_gradient(routing);
  Vector<float> dweight = Vector<float>::Zero(slots), short_dweight = Vector<float>::Zero(1);
  expect_refused("weights", [&] { plan.backward(short_dweight, drouting); });
  Routing<float> empty;
  expect_refused("choices", [&] { plan.backward(dweight, empty); });
  EXPECT_NO_THROW(plan.backward(dweight, drouting));

  Matrix<float> x_ND(slots, width), few_ND(1, width), y_TD(tokens, width), few_TD(2, width), narrow_TD(tokens, 1);
  for (const Plan<float>& other : {plan, Plan<float>{}}) {
    expect_refused("dispatch", [&] { dispatch<float>(few_TD, other, x_ND); });
    expect_refused("dispatch_backward", [&] { dispatch_backward<float>(few_ND, other, y_TD); });
    expect_refused("combine", [&] { combine<float>(few_ND, other, y_TD); });
    expect_refused("combine", [&] { combine<float>(x_ND, other, few_TD); });
    expect_refused("combine_backward", [&] { combine_backward<float>(few_TD, other, x_ND, x_ND, dweight); });
    expect_refused("inputs", [&] { add_input_weight_gradient<float>(few_TD, x_ND, other, dweight); });
    expect_refused("inputs", [&] { add_input_weight_gradient<float>(x_TD, few_ND, other, dweight); });
  }
  x_ND.resize(slots, width);
  expect_refused("inputs", [&] { add_input_weight_gradient<float>(x_TD, x_ND, plan, short_dweight); });
  for (Matrix<float>* rows : {&few_TD, &narrow_TD}) {
    expect_refused("pass", [&] { pass_dropped<float>(*rows, routing, plan, y_TD); });
    expect_refused("pass", [&] { pass_dropped<float>(x_TD, routing, plan, *rows); });
    expect_refused("pass back", [&] { pass_dropped_backward<float>(*rows, x_TD, routing, plan, drouting, y_TD); });
    expect_refused("pass back", [&] { pass_dropped_backward<float>(x_TD, *rows, routing, plan, drouting, y_TD); });
    expect_refused("pass back", [&] { pass_dropped_backward<float>(x_TD, x_TD, routing, plan, drouting, *rows); });
  }
  expect_refused("choices", [&] { pass_dropped<float>(x_TD, empty, plan, y_TD); });
  expect_refused("choices", [&] { pass_dropped_backward<float>(x_TD, x_TD, routing, plan, empty, y_TD); });
}

// Optimisers, surgery, reports, tests.

TEST(NoAssertions, Optimisers) {
  std::mt19937_64 rng(12);
  using Model = Linear<float>;
  Model model = Model::random(width, 2, rng), gradient = zeros_like(model), larger = Model::random(width, 9, rng);
  const auto expect_checked = [&](auto optimizer) {
    expect_refused("model", [&] { (void)optimizer.step(larger, larger); });
    expect_refused("gradient", [&] { (void)optimizer.step(model, larger); });
    expect_refused("itself", [&] { (void)optimizer.step(model, model); });
    EXPECT_TRUE(optimizer.step(model, gradient));
    auto moments = optimizer.moments();
    std::get<std::tuple_size_v<decltype(moments)> - 1>(moments) = larger;
    expect_refused("moments", [&] { (void)optimizer.step(model, gradient); });
  };
  expect_checked(AdamW{model});
  expect_checked(Sgd{model});
  expect_refused("unflatten", [&] { unflatten(Vector<double>::Zero(3), model); });
  Weights<float> weights(3, 2);
  expect_refused("weights", [&] { weights += Weights<float>(40, 20); });
  expect_refused("update_bias", [&] {
    Vector<double> bias = Vector<double>::Zero(2);
    Load load;
    load.chosen = {1, 2, 3};
    update_bias(bias, load);
  });
}

TEST(NoAssertions, Surgery) {
  std::mt19937_64 rng(13);
  Layer layer{Router<float>::random(experts, width, rng), TopK{.k = 2},
              make_experts<SwiGlu<float>>(experts, width, hidden, rng)};
  layer.router.bias_E.setZero(experts);
  const auto before = layer;
  auto follower = zeros_like(layer), other = zeros_like(layer);
  other.experts.pop_back();
  Load load;
  load.chosen = {1, 2};
  const Router<float> narrow = Router<float>::zeros(1, 7);
  Router<float> biased = Router<float>::zeros(1, width);
  biased.bias_E.setZero(9);
  const auto newcomer = make_experts<SwiGlu<float>>(1, width, hidden, rng);
  for (const Index e : {Index{-1}, experts, Index{99}}) {
    expect_refused("remove", [&] { remove_expert(layer, e, follower); });
    expect_refused("keep", [&] { keep_experts(layer, {0, e}, follower); });
    expect_refused("split", [&] { split_expert(layer, e, {}, follower); });
    expect_refused("merge", [&] { merge_experts(layer, 0, e, {}, follower); });
    expect_refused("permute", [&] { permute_experts(layer, {0, 1, 2, e}, follower); });
    expect_refused("parameters", [&] { expert_parameters(layer, {e}); });
    expect_refused("rearrange", [&] { rearrange_experts(layer, {experts, {{{0}}, {{e}}}}, follower); });
  }
  expect_refused("sources", [&] { rearrange_experts(layer, {2, {{{0}}, {{1}}}}, follower); });
  expect_refused("follower", [&] { remove_expert(layer, 0, other); });
  expect_refused("load", [&] { prune_by_load(layer, load, 2, follower); });
  expect_refused("load", [&] { (void)most_loaded_experts(load, 3); });
  expect_refused("newcomers", [&] { add_experts(layer, narrow, newcomer, follower); });
  expect_refused("newcomers", [&] { add_experts(layer, biased, newcomer, follower); });
  expect_refused("newcomers", [&] { add_experts(layer, Router<float>::zeros(2, width), newcomer, follower); });
  expect_refused("repeat", [&] { (void)repeat_rows(biased, 2); });
  expect_refused("units", [&] { (void)select_units(newcomer[0], {0, hidden}); });
  expect_refused("slices", [&] { (void)upcycle(newcomer[0], 2, {.granularity = 2}); });
  Vector<float> importance = Vector<float>::Zero(2);
  expect_refused("importance", [&] { add_neuron_importance(newcomer[0], zeros_like(newcomer[0]), importance); });
  expect_refused("split", [&] { (void)split_by_importance({0, 1}, 2, 0, 2); });
  EXPECT_TRUE(support::same_parameters(layer, before));
}

TEST(NoAssertions, Reports) {
  Routing<float> routing = undecided(), small = undecided(2);
  TopK{.k = 2}.route(batch_of(x_TD), routing, nullptr);
  Plan<float> plan;
  plan.build(x_TD, routing, Capacity::unlimited(), false);
  expect_refused("statistics", [&] { (void)statistics_of(small, plan); });
  expect_refused("statistics", [&] { (void)statistics_of(routing, Plan<float>{}); });
  EXPECT_NO_THROW((void)statistics_of(Routing<float>{}, Plan<float>{}));
  const std::vector<Index> classes(tokens, 0), few(2, 0);
  expect_refused("classes", [&] { (void)count_by_class<float>(plan, few, 1); });
  expect_refused("classes", [&] { (void)count_by_class<float>(plan, classes, -1); });
  expect_refused("classes", [&] { (void)count_by_class<float>(plan, classes, 0); });
  Load load = load_of(plan), other = load, short_load = load;
  other.chosen.push_back(1);
  short_load.received.clear();
  expect_refused("sum", [&] { (void)sum_of(load, other); });
  expect_refused("sum", [&] { (void)sum_of(load, short_load); });
  expect_refused("sum", [&] { (void)sum_of(short_load, load); });
}

TEST(NoAssertions, GradientChecks) {
  std::mt19937_64 rng(14);
  const auto expert = Mlp<double>::random(width, hidden, rng);
  expect_refused("x", [&] { (void)testing::check_gradients(expert, Matrix<double>::Ones(2, 7)); });
  const Layer layer{Router<double>::random(experts, width, rng), TopK{.k = 2},
                    make_experts<Mlp<double>>(experts, width, hidden, rng)};
  const Matrix<double> wide = Matrix<double>::Ones(2, 7);
  expect_refused("batch", [&] { (void)testing::check_layer_gradients(layer, wide); });
}

}  // namespace mismatch_test
}  // namespace moe
