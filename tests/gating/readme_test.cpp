// All code of the tables in include/moe/gating/README.md compiles and runs, each piece in a layer of its own.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/code_of_tables.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace gating_readme_test {

constexpr const char* document = "include/moe/gating/README.md";

// The sizes are such that every setting of a known system fits.
constexpr Index T = 8, E = 64, D = 4, F = 3, V = 80;

using SomeLayer = Layer<Router<float>, ScoredTopK, Linear<float>>;

/// What the code of the tables may name.
struct Scene {
  std::mt19937_64 rng{1};
  Matrix<float> x = random_matrix<float>(T, D, rng), embeddings = random_matrix<float>(V, D, rng);
  Router<float> router = Router<float>::random(E, D, rng);
  std::vector<Linear<float>> experts = make_experts<Linear<float>>(E, D, D, rng);
  DispatchOptions options;
  Capacity capacity = Capacity::factor(1);
  std::vector<std::int64_t> ids{0, 1, 2, 3, 4, 0, 1, 2};
  Batch<float> batch = x;
  SomeLayer layer{router, ScoredTopK{.k = 2}, experts};
  SomeLayer::Tape tape, seeded_tape{7};
  QuantileBalance balance;
  std::vector<Index> k_T{2, 1, 2, 1, 2, 2, 1, 1};
  std::vector<Index> first_table, second_table;
  std::vector<double> frequencies;

  Scene() {
    batch.ids = ids;
    for (Index id = 0; id < V; ++id) {
      first_table.push_back(id % E);
      second_table.push_back((id + 1) % E);
      frequencies.push_back(1 / static_cast<double>(id + 1));
    }
    layer.forward(x, tape);
  }

  /// A training pass, and the whole of its gradients, with these parts.
  template <class SomeRouter, class G, class X>
  void train(const SomeRouter& some_router, const G& some_gate, const std::vector<X>& some_experts) const {
    train(Layer{some_router, some_gate, some_experts, options});
  }
  template <class L>
  void train(const L& some_layer) const {
    typename L::Tape own{7};
    auto gradient = zeros_like(some_layer);
    const Matrix<float> y = some_layer.forward(batch, own);
    const Matrix<float> dx = some_layer.backward(batch, Matrix<float>::Ones(y.rows(), y.cols()), own, gradient);
    EXPECT_TRUE(y.allFinite());
    EXPECT_TRUE(dx.allFinite());
    EXPECT_TRUE(some_layer.forward(batch).allFinite());  // in evaluation
  }
};

/// Runs what a piece of code gives, in the scene that it may have changed.
template <class Value>
void run(Scene& scene, const Value& value) {
  if constexpr (std::is_same_v<Value, Capacity>) {
    scene.options.capacity = value;
    scene.train(scene.router, TopK{.k = 2, .weights = ChoiceWeights::probabilities()}, scene.experts);
  } else if constexpr (std::is_convertible_v<Value, ChoiceWeights>) {
    scene.train(scene.router, TopK{.k = 2, .weights = value}, scene.experts);
  } else if constexpr (ScoringRouter<Value>) {
    scene.train(value, TopK{.k = 2}, scene.experts);
  } else if constexpr (TrainableGate<Value, float>) {
    scene.train(scene.router, value, scene.experts);
  } else if constexpr (requires { value.layer; }) {
    scene.train(value);
  } else if constexpr (TrainableExpert<Value, float>) {
    scene.train(scene.router, TopK{.k = 2}, std::vector<Value>(E, value));
  } else {  // a setting
    scene.train(scene.router, TopK{.k = 2, .weights = ChoiceWeights::probabilities()}, scene.experts);
    scene.train(scene.layer);
  }
}

template <class M>
requires requires(const M& matrix) { matrix.allFinite(); }
void run(Scene&, const M& matrix) { EXPECT_TRUE(matrix.allFinite()); }

/// So that code without a value (update_bias) can be run too: `code, Done{}` is the code's value, or this.
struct Done {};
template <class Value>
Value&& operator,(Value&& value, Done) {
  return std::forward<Value>(value);
}

struct Code {
  std::string text;
  std::function<void(Scene&)> run;
};

#define MOE_CODE(...)                                                                                        \
  Code {                                                                                                     \
#__VA_ARGS__, [](Scene& scene) {                                                                           \
      [[maybe_unused]] auto& [rng, x, embeddings, router, experts, options, capacity, ids, batch, layer, tape, \
                              seeded_tape, balance, k_T, first_table, second_table, frequencies] = scene;      \
      gating_readme_test::run(scene, (__VA_ARGS__, Done{}));                                                   \
    } \
  }

const std::vector<Code>& all_code() {
  static const std::vector<Code> all{
      MOE_CODE(TopK{.k = 2, .weights = ChoiceWeights::renormalized()}),
      MOE_CODE(TopK{.k = 4, .weights = ChoiceWeights::probabilities()}),
      MOE_CODE(Shared{layer, SwiGlu<float>::random(D, F, rng), SigmoidMix<float>::random(D, rng)}),
      MOE_CODE(TopK{.k = 8, .weights = ChoiceWeights::renormalized()}),
      MOE_CODE(TopK{.k = 8, .weights = ChoiceWeights::probabilities()}),
      MOE_CODE(ScoredTopK{.k = 6,
                          .scores = Scores::softmax({.normalize = false, .scale = 16}),
                          .groups = 8,
                          .groups_used = 3,
                          .group_score = ScoredTopK::GroupScore::best}),
      MOE_CODE(ScoredTopK{.k = 8, .scores = Scores::sigmoid({.scale = 2.5}), .groups = 8, .groups_used = 4}),
      MOE_CODE(update_bias(layer.gate.selection_bias_E, load_of(tape.plan))),
      MOE_CODE(Shared{layer, SwiGlu<float>::random(D, F, rng)}),
      MOE_CODE(ScoredTopK{.k = 6, .scores = Scores::sqrt_softplus({.scale = 1.5})}),
      MOE_CODE(Hash{.tables = {first_table, second_table}, .weights = Scores::sqrt_softplus({.scale = 1.5})}),
      MOE_CODE(TopK{.k = 4}),
      MOE_CODE(router.bias_E = Vector<float>::Zero(E)),
      MOE_CODE(ClampedSwiGlu<float>::random(D, F, rng, {.bias = true}, {.alpha = 1.702, .limit = 7, .offset = 1})),
      MOE_CODE(TopK{.k = 2}),
      MOE_CODE(Shared{layer, ConstantExpert<float>{Vector<float>::Zero(D)}}),
      MOE_CODE(ScoredTopK{.k = 6,
                          .scores = Scores::softmax({.epsilon = Epsilon::floor(1e-12)}),
                          .selection_bias_E = Vector<double>::Zero(E)}),
      MOE_CODE(ScoredTopK{.k = 12,
                          .scores = Scores::softmax({.normalize = false, .scale = 6}),
                          .selection_bias_E = Vector<double>::Zero(E)}),
      MOE_CODE(IdentityExpert<float>{}),
      MOE_CODE(TopK{.k = 1, .weights = ChoiceWeights::sigmoid()}),
      MOE_CODE(options.weigh_input = true),
      MOE_CODE(Shared{layer, SwiGlu<float>::random(D, F, rng)}),
      MOE_CODE(SparseMixer{.k = 2}),
      MOE_CODE(TopK{.k = 4, .weights = ChoiceWeights::renormalized({.norm = 1})}),
      MOE_CODE(ScoredTopK{.k = 8, .scores = Scores::sigmoid({.epsilon = Epsilon::floor(6.1035e-5), .scale = 2.5})}),
      MOE_CODE(switch_top1()),
      MOE_CODE(router.jitter = 1e-2),
      MOE_CODE(Capacity::factor(1.25)),
      MOE_CODE(gshard_top2()),
      MOE_CODE(Capacity::gshard(2)),
      MOE_CODE(batch.group_size = 4),
      MOE_CODE(OptionalChoices{.top_k = {.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = 1e-9})},
                               .threshold = 0.2}),
      MOE_CODE(Capacity::mesh(1.25).at_inference(Capacity::mesh(2))),
      MOE_CODE(GumbelNoise<TopK>{.gate = switch_top1(), .temperature = 0.5}),
      MOE_CODE(NoTokenLeftBehind{.capacity = capacity, .attempts = 2}),
      MOE_CODE(VariableTopK{.k_T = k_T}),
      MOE_CODE(st_moe_top_n(2)),
      MOE_CODE(Capacity::mesh(1.25).at_inference(Capacity::mesh(2))),
      MOE_CODE(options.straight_through = true),
      MOE_CODE(layer.dispatching.capacity = Capacity::mesh(2)),
      MOE_CODE(layer.forward(x, seeded_tape)),
      MOE_CODE(TopK{.k = 2, .weights = ChoiceWeights::probabilities()}),
      MOE_CODE(Capacity::flaxformer(1.25)),
      MOE_CODE(router.jitter = 1e-2),
      MOE_CODE(ExpertChoice{.factor = 2, .rounding = Rounding::nearest, .minimum = 4}),
      MOE_CODE(FixedNoise{Prioritized{TopK{.k = 2, .weights = ChoiceWeights::probabilities()}}, 1.0}),
      MOE_CODE(Capacity::v_moe(1.05)),
      MOE_CODE(ExpertChoice{.factor = 2, .rounding = Rounding::up, .multiple = 4}),
      MOE_CODE(GumbelNoise<TopK>{{.k = 2, .weights = ChoiceWeights::probabilities()}, true}),
      MOE_CODE(options.renormalize_kept = true),
      MOE_CODE(Capacity::fairseq().at_inference(Capacity::share_of_tokens(0.25))),
      MOE_CODE(OptionalChoices{.top_k = {.k = 2, .weights = ChoiceWeights::probabilities()}, .threshold = 0.5}),
      MOE_CODE(TopK{.k = 2, .weights = ChoiceWeights::probabilities()}),
      MOE_CODE(options.renormalize_kept = true),
      MOE_CODE(Capacity::exactly(64).at_inference(Capacity::share_of_tokens(1))),
      MOE_CODE(Prioritized{switch_top1(), Priority::random}),
      MOE_CODE(GumbelNoise<TopK>{switch_top1()}),
      MOE_CODE(Capacity::deepspeed(1.25)),
      MOE_CODE(GumbelNoise<TopK>{{.k = 2, .weights = ChoiceWeights::probabilities()}, true}),
      MOE_CODE(options.renormalize_kept = true),
      MOE_CODE(Prioritized{TopK{.k = 3, .weights = ChoiceWeights::probabilities()}, Priority::weight}),
      MOE_CODE(Prioritized{TopK{.k = 3, .weights = ChoiceWeights::probabilities()}, Priority::token}),
      MOE_CODE(VariableTopK{.k_T = {2, 0, 2, 2, 0, 2, 2, 2}, .weights = ChoiceWeights::probabilities()}),
      MOE_CODE(Shared{layer, SwiGlu<float>::random(D, F, rng), SoftmaxMix<float>::random(D, rng, true)}),
      MOE_CODE(TopK{.k = 2}),
      MOE_CODE(Capacity::factor(1)),
      MOE_CODE(Prioritized{TopK{.k = 2}, Priority::weight}),
      MOE_CODE(Sinkhorn{.k = 1}),
      MOE_CODE(ScoredTopK{.k = 8, .groups = 8, .groups_used = 4, .group_score = ScoredTopK::GroupScore::best_share}),
      MOE_CODE(Replay<float>::recorded(tape.routing)),
      MOE_CODE(ScoredTopK{.k = 8, .selection_bias_E = Vector<double>::Zero(E)}),
      MOE_CODE(update_bias(layer.gate.selection_bias_E, load_of(tape.plan), {.centered = true})),
      MOE_CODE(ScoredTopK{.k = 16}),
      MOE_CODE(balance.add(layer.gate, tape.routing)),
      MOE_CODE(balance.update(layer.gate)),
      MOE_CODE(ScoredTopK{.k = 2, .bias_on = ScoredTopK::BiasOn::logits}),
      MOE_CODE(QuantileBalance{{.quantile = Quantile::order, .per_batch = true}}),
      MOE_CODE(ScoredTopK{.k = 8,
                          .scores = Scores::softmax({.normalize = false}),
                          .groups = 8,
                          .groups_used = 8,
                          .from_each_group = true}),
      MOE_CODE(FixedNoise{
          Prioritized{TopK{.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = Epsilon::floor(1.1920929e-7)})}},
          1.0}),
      MOE_CODE(Capacity::tutel(1)),
      MOE_CODE(CosineRouter<float>::random(E, D, 256, rng)),
      MOE_CODE(TopK{.k = 1, .weights = ChoiceWeights::probabilities()}),
      MOE_CODE(Capacity::unlimited()),
      MOE_CODE(Capacity::megablocks(1.25)),
      MOE_CODE(TopK{.k = 2, .weights = ChoiceWeights::renormalized({.norm = 2})}),
      MOE_CODE(NoisyTopK<float>::zeros(E, D, {.k = 2})),
      MOE_CODE(Capacity::fastmoe(1.2)),
      MOE_CODE(Capacity::fastmoe_switch(1.2)),
      MOE_CODE(layer.forward(x, seeded_tape)),
      MOE_CODE(Hash::random(V, E, rng)),
      MOE_CODE(Hash::balanced(frequencies, E)),
      MOE_CODE(BaseAssignment{}),
      MOE_CODE(TopP{.p = 0.8, .stay_below = true}),
      MOE_CODE(ExpertChoice{.softmax_axis = ExpertChoice::Axis::tokens}),
      MOE_CODE(Threshold{}),
      MOE_CODE(router.bias_E = Vector<float>::Zero(E)),
      MOE_CODE(Softmax{}),
      MOE_CODE(TopK{.k = 2}),
      MOE_CODE(switch_top1()),
      MOE_CODE(ScoredTopK{.k = 8, .groups = 8, .groups_used = 4}),
      MOE_CODE(VariableTopK{.k_T = k_T}),
      MOE_CODE(TopP{.p = 0.8}),
      MOE_CODE(Threshold{.threshold = 0.5}),
      MOE_CODE(ReluRouting{}),
      MOE_CODE(gshard_top2()),
      MOE_CODE(st_moe_top_n(3)),
      MOE_CODE(OptionalChoices{.send = OptionalChoices::Send::above_threshold, .threshold = 0.3}),
      MOE_CODE(SparseMixer{.k = 2}),
      MOE_CODE(ExpertChoice{.factor = 2}),
      MOE_CODE(ExpertChoice{.softmax_axis = ExpertChoice::Axis::tokens, .average = true}),
      MOE_CODE(Hash::random(V, E, rng)),
      MOE_CODE(Hash::balanced(frequencies, E)),
      MOE_CODE(Hash::clustered(embeddings, E, rng)),
      MOE_CODE(Hash{.tables = {first_table, second_table}, .weights = ChoiceWeights::renormalized()}),
      MOE_CODE(Sinkhorn{.k = 1}),
      MOE_CODE(Sinkhorn{.k = 1, .temperature = 0.1}),
      MOE_CODE(BaseAssignment{}),
      MOE_CODE(NoTokenLeftBehind{.capacity = capacity}),
      MOE_CODE(Replay<float>::recorded(tape.routing)),
      MOE_CODE(Replay<float>::recorded(tape.routing, Scores::sigmoid())),
      MOE_CODE(Replay<float>::uniform(T, E, 2)),
      MOE_CODE(VariantGate<float, TopK, ExpertChoice>{switch_top1()}),
      MOE_CODE(ChoiceWeights::softmax_of_chosen()),
      MOE_CODE(ChoiceWeights::renormalized()),
      MOE_CODE(ChoiceWeights::renormalized({.epsilon = 1e-9})),
      MOE_CODE(ChoiceWeights::renormalized({.epsilon = Epsilon::floor(1e-9)})),
      MOE_CODE(ChoiceWeights::renormalized({.norm = 2})),
      MOE_CODE(TopK{.k = 1, .weights = ChoiceWeights::renormalized({.allow_constant = true})}),
      MOE_CODE(ChoiceWeights::probabilities()),
      MOE_CODE(ChoiceWeights::sigmoid()),
      MOE_CODE(ChoiceWeights::uniform()),
      MOE_CODE(Scores::sigmoid({.scale = 2.5})),
      MOE_CODE(Scores::softmax({.normalize = false})),
      MOE_CODE(Scores::sqrt_softplus()),
      MOE_CODE(LearnedNoise<float, ScoredTopK>::zeros(E, D, {.k = 2})),
      MOE_CODE(NoisyTopK<float>::zeros(E, D, {.k = 2})),
      MOE_CODE(FixedNoise{TopK{.k = 2}, 1.0}),
      MOE_CODE(GumbelNoise<TopK>{{.k = 2}}),
      MOE_CODE(GumbelNoise<TopK>{.gate = {.k = 2}, .first_is_best = true}),
      MOE_CODE(router.jitter = 1e-2),
      MOE_CODE(Prioritized{TopK{.k = 2}}),
      MOE_CODE(Prioritized{TopK{.k = 2}, Priority::weight}),
      MOE_CODE(Prioritized{TopK{.k = 2}, Priority::logit}),
      MOE_CODE(Prioritized{TopK{.k = 2}, Priority::token}),
      MOE_CODE(Prioritized{TopK{.k = 2}, Priority::random}),
      MOE_CODE(Prioritized<TopK>{{.k = 2}, Priority::logit_against_zero, capacity}),
      MOE_CODE(Capacity::unlimited()),
      MOE_CODE(Capacity::factor(1.25)),
      MOE_CODE(Capacity::exactly(64)),
      MOE_CODE(Capacity::v_moe(1.05)),
      MOE_CODE(Capacity::gshard(2)),
      MOE_CODE(Capacity::mesh(1.25)),
      MOE_CODE(Capacity::flaxformer(1.25)),
      MOE_CODE(Capacity::deepspeed(1.25)),
      MOE_CODE(Capacity::megablocks(1.25)),
      MOE_CODE(Capacity::tutel(1)),
      MOE_CODE(Capacity::fairseq()),
      MOE_CODE(Capacity::fastmoe(1.2)),
      MOE_CODE(Capacity::fastmoe_switch(1.2)),
      MOE_CODE(Capacity::share_of_tokens(0.25)),
      MOE_CODE(Capacity::formula({.factor = 1.25, .rounding = Rounding::nearest, .minimum = 2})),
      MOE_CODE(Capacity::factor(1.25).at_inference(Capacity::unlimited())),
      MOE_CODE(batch.group_size = 4),
      MOE_CODE(options.renormalize_kept = true),
      MOE_CODE(options.pass_dropped = true),
      MOE_CODE(options.weigh_input = true),
      MOE_CODE(options.straight_through = true),
      MOE_CODE(options.non_finite = NonFinite::zero_row),
  };
  return all;
}

#undef MOE_CODE

TEST(GatingReadme, HasTheCodeThatIsRunHere) {
  std::vector<std::string> tested;
  for (const Code& code : all_code()) tested.push_back(code.text);
  support::expect_code_of_tables(document, tested);
}

TEST(GatingReadme, AllItsCodeRuns) {
  for (const Code& code : all_code()) {
    SCOPED_TRACE(code.text);
    Scene scene;
    EXPECT_NO_THROW(code.run(scene));
  }
}

// The gate of the document's last section.
struct RoundRobin {
  moe::ChoiceWeights weights = moe::ChoiceWeights::sigmoid();
  moe::Index most_choices(moe::Index) const { return 1; }
  template <class S>
  void route(const moe::Batch<S>&, moe::Routing<S>& routing, moe::Random*) const {
    routing.choices_per_token = 1;
    routing.selects_largest_logits = false;
    routing.set_probabilities();  // softmax of the logits that weigh
    for (moe::Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        routing.choices.push_back({.token = t, .expert = t % routing.experts(), .weight = S(1), .rank = 0});
    weights.weigh(routing);
  }
  template <class S>
  void backward(const moe::Routing<S>& routing, moe::Routing<S>& drouting) const {
    weights.backward(routing, drouting);
  }
};

TEST(GatingReadme, ItsGateIsAGateWithExactGradients) {
  const std::string own = support::without_spaces(support::text_of_checkout("tests/gating/readme_test.cpp"));
  const std::string text = support::text_of_checkout(document);
  const auto begin = text.find("struct RoundRobin"), end = text.find("```", begin);
  ASSERT_NE(begin, text.npos);
  EXPECT_NE(own.find(support::without_spaces(text.substr(begin, end - begin))), own.npos);
  std::mt19937_64 rng{1};
  const Layer layer{Router<double>::random(3, D, rng), RoundRobin{}, make_experts<Linear<double>>(3, D, D, rng)};
  EXPECT_TRUE(testing::check_layer_gradients(layer, random_matrix<double>(T, D, rng)));
}

}  // namespace gating_readme_test
}  // namespace moe
