// Properties of every gate: what holds for one of them holds for all.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "draws.hpp"
#include "gating/route.hpp"

namespace properties {
namespace gates_test {

using moe::ChoiceWeights, moe::Random, moe::Routing, moe::Scores;

constexpr Index experts = 6, tokens = 8;

/// Calls f(name, gate, whether a token's choice depends on the other tokens) for all gates of this scalar.
template <class S, class F>
void for_each_gate(F&& f) {
  using W = ChoiceWeights;
  const std::vector<std::pair<std::string, W>> kinds{
      {"softmax of the chosen", W::softmax_of_chosen()},
      {"renormalized, epsilon added", W::renormalized({.epsilon = 1e-9})},
      {"renormalized, epsilon as floor", W::renormalized({.epsilon = moe::Epsilon::floor(1e-9)})},
      {"probabilities", W::probabilities()},
      {"sigmoid", W::sigmoid()},
      {"uniform", W::uniform()},
      {"softmax scores", Scores::softmax()},
      {"sigmoid scores", Scores::sigmoid({.normalize = false})},
      {"sqrt-softplus scores", Scores::sqrt_softplus({.epsilon = 0, .scale = 1.5})}};
  for (const auto& [kind, weights] : kinds) {
    f("TopK, " + kind, moe::TopK{.k = 2, .weights = weights}, false);
    f("TopP, " + kind, moe::TopP{.p = 0.8, .weights = weights}, false);
    f("VariableTopK, " + kind, moe::VariableTopK{.k_T = {2, 3, 0, 2, 2, 1, 2, 6}, .weights = weights}, false);
    f("Hash, " + kind, moe::Hash{.tables = {{0, 1, 2}, {3, 4, 5}}, .weights = weights}, false);
    moe::Replay<S> replay = moe::Replay<S>::uniform(tokens, experts, 2);
    replay.weights = weights;
    f("Replay, " + kind, replay, false);
  }
  f("Softmax", moe::Softmax{}, false);
  f("Switch", moe::switch_top1(), false);
  f("GShard", moe::OptionalChoices{.send = moe::OptionalChoices::Send::above_threshold, .threshold = 0.1}, false);
  f("NoTokenLeftBehind", moe::NoTokenLeftBehind{.capacity = moe::Capacity::exactly(8)}, false);
  f("Prioritized", moe::Prioritized<moe::TopK>{{.k = 2}}, false);
  f("Threshold", moe::Threshold{.threshold = 0.01}, false);
  f("ReLU", moe::ReluRouting{}, false);
  f("Threshold of 0", moe::Threshold{.threshold = 0}, false);
  f("SparseMixer", moe::SparseMixer{.k = 2}, false);
  f("Sinkhorn", moe::Sinkhorn{.k = 2}, true);
  f("Sinkhorn of one", moe::Sinkhorn{.k = 1, .temperature = 0.5}, true);
  f("BASE", moe::BaseAssignment{}, true);
  f("expert choice", moe::ExpertChoice{.factor = 2}, true);
  f("expert choice over tokens", moe::ExpertChoice{.factor = 2, .softmax_axis = moe::ExpertChoice::Axis::tokens}, true);
  for (const auto function : {&Scores::softmax, &Scores::sigmoid, &Scores::sqrt_softplus}) {
    const std::string kind = "score " + std::to_string(static_cast<int>(function({}).function()));
    for (const bool normalize : {false, true}) {
      moe::ScoredTopK gate{.k = 2, .scores = function({.normalize = normalize})};
      f("ScoredTopK, " + kind, gate, false);
      gate.scores = function({.normalize = normalize, .epsilon = 0});
      gate.selection_bias_E = moe::Vector<double>{{0, 0.5, 0, 0.5, 0, 0}};
      f("ScoredTopK with bias, " + kind, gate, false);
      gate.selection_bias_E = {};
      gate.groups = 3;
      gate.groups_used = 2;
      f("ScoredTopK with groups, " + kind, gate, false);
      gate.selection_bias_E = moe::Vector<double>{{0, 0.5, 0, 0.5, 0, 0}};
      f("ScoredTopK with bias and groups, " + kind, gate, false);
    }
  }
}

const std::vector<std::int64_t> ids{0, 1, 2, 0, 1, 2, 0, 1};

template <class G, class S>
Routing<S> decide(const G& gate, const moe::Matrix<S>& logits_TE, Random* random = nullptr) {
  const moe::Matrix<S> x_TD = moe::Matrix<S>::Zero(logits_TE.rows(), 1);
  moe::Batch<S> batch = x_TD;
  batch.ids = ids;
  gate.check(experts);
  return moe::gating::route(gate, batch, logits_TE, random);
}

/// Softmax has nothing to check.
Routing<double> decide(const moe::Softmax& gate, const Matrix& logits_TE, Random* random = nullptr) {
  return moe::gating::route(gate, logits_TE, {}, 0, random);
}
Routing<float> decide(const moe::Softmax& gate, const moe::Matrix<float>& logits_TE) {
  return moe::gating::route(gate, logits_TE);
}

/// Different numbers within each row, a half apart at least, and exact in float.
Matrix logits_of_range(double range, std::mt19937_64& rng) {
  Matrix logits_TE(tokens, experts);
  for (Index t = 0; t < tokens; ++t) {
    std::set<double> used;
    for (Index e = 0; e < experts;) {
      const double z = std::round((2 * moe::detail::random_uniform(rng) - 1) * range * 2) / 2;
      if (used.insert(z).second) logits_TE(t, e++) = z;
    }
  }
  return logits_TE;
}

/// Choices in an order that a priority does not change: probabilities that round to 1 may be equal in float alone.
template <class S>
void sort_by_token(Routing<S>& routing) {
  std::sort(routing.choices.begin(), routing.choices.end(),
            [](const auto& a, const auto& b) { return std::tie(a.token, a.expert) < std::tie(b.token, b.expert); });
}

// Where scores vanish in float, float still chooses and weighs as double does.
TEST(EveryGate, ChoosesAndWeighsInFloatAsInDoubleWhateverTheLogits) {
  std::mt19937_64 rng(1);
  for (const double range : {5., 80., 95., 150., 500.})
    for (const double shift : {0., -100., 100.}) {
      const Matrix logits_TE = logits_of_range(range, rng).array() + shift;
      std::vector<Routing<double>> expected;
      for_each_gate<double>(
          [&](const std::string&, const auto& gate, bool) { expected.push_back(decide(gate, logits_TE)); });
      std::size_t i = 0;
      for_each_gate<float>([&](const std::string& name, const auto& gate, bool) {
        Routing<float> narrow = decide(gate, moe::Matrix<float>(logits_TE.cast<float>()));
        Routing<double>& wide = expected[i++];
        // Sums of scores that round to 1 are equal in float alone, and groups may then be others.
        if (name.find("groups") != std::string::npos && (name.find("bias") != std::string::npos || shift + range > 0))
          return;
        sort_by_token(narrow);
        sort_by_token(wide);
        ASSERT_EQ(narrow.choices.size(), wide.choices.size()) << name << " at " << range;
        for (std::size_t c = 0; c < wide.choices.size(); ++c) {
          EXPECT_EQ(narrow.choices[c].token, wide.choices[c].token) << name << " at " << range << ", choice " << c;
          EXPECT_EQ(narrow.choices[c].rank, wide.choices[c].rank) << name << " at " << range << ", choice " << c;
          EXPECT_EQ(narrow.choices[c].expert, wide.choices[c].expert) << name << " at " << range << ", choice " << c;
          EXPECT_NEAR(static_cast<double>(narrow.choices[c].weight), wide.choices[c].weight,
                      1e-4 * wide.choices[c].weight + 1e-37)
              << name << " at " << range << " + " << shift << ", choice " << c;
        }
        EXPECT_TRUE(narrow.probabilities_TE.allFinite()) << name << " at " << range;
      });
    }
}

// The gradients of weights that vanish are finite too, and small.
TEST(EveryGate, HasFiniteGradientsWhateverTheLogits) {
  std::mt19937_64 rng(2);
  for (const double range : {80., 150., 500.}) {
    const moe::Matrix<float> logits_TE = logits_of_range(range, rng).cast<float>();
    for_each_gate<float>([&](const std::string& name, const auto& gate, bool) {
      const Routing<float> routing = decide(gate, logits_TE);
      Routing<float> drouting;
      drouting.reset_gradient(routing);
      for (auto& c : drouting.choices) c.weight = c.expert % 2 == 0 ? 1.f : -1.f;
      drouting.probabilities_TE.setRandom();
      gate.backward(routing, drouting);
      EXPECT_TRUE(drouting.logits_TE.allFinite()) << name << " at " << range;
      EXPECT_LE(drouting.logits_TE.cwiseAbs().maxCoeff(), 10) << name << " at " << range;
    });
  }
}

// A token of NaN is in range, without duplicates, and changes no other token's weight to NaN; where tokens do not
// depend on each other it changes nothing else at all.
TEST(EveryGate, KeepsANaNInItsRow) {
  std::mt19937_64 rng(3);
  const Matrix sane_TE = support::random_matrix(tokens, experts, rng);
  constexpr Index bad = 2;
  for (const bool whole_row : {true, false}) {
    Matrix logits_TE = sane_TE;
    logits_TE(bad, 1) = std::nan("");
    if (whole_row) logits_TE.row(bad).setConstant(std::nan(""));
    for (const bool training : {false, true})
      for_each_gate<double>([&](const std::string& name, const auto& gate, bool depends) {
        Random random(5), again(5);
        const auto routing = decide(gate, logits_TE, training ? &random : nullptr);
        const auto sane = decide(gate, sane_TE, training ? &again : nullptr);
        std::set<std::pair<Index, Index>> pairs;
        std::set<std::tuple<Index, Index, double>> others, sane_others;
        std::set<Index> used;
        for (const auto& c : routing.choices) {
          ASSERT_TRUE(c.token >= 0 && c.token < tokens && c.expert >= 0 && c.expert < experts) << name;
          EXPECT_TRUE(pairs.insert({c.token, c.expert}).second) << name;
          if (c.token == bad) continue;
          EXPECT_FALSE(std::isnan(c.weight)) << name << ", token " << c.token;
          others.insert({c.token, c.expert, c.weight});
          used.insert(c.expert);
        }
        for (const auto& c : sane.choices)
          if (c.token != bad) sane_others.insert({c.token, c.expert, c.weight});
        EXPECT_TRUE(depends || others == sane_others) << name;
        EXPECT_TRUE(!training || !depends || used.size() >= 5) << name << ": balanced, with the others alone";
        Routing<double> drouting;
        drouting.reset_gradient(routing);
        for (std::size_t i = 0; i < routing.choices.size(); ++i)
          drouting.choices[i].weight = routing.choices[i].token == bad ? std::nan("") : 1.;
        gate.backward(routing, drouting);
        for (Index t = 0; t < tokens; ++t)
          EXPECT_TRUE(t == bad || drouting.logits_TE.row(t).allFinite()) << name << ", gradient of token " << t;
      });
  }
}

template <class G>
bool is_refused(const G& gate) {
  if constexpr (requires { gate.check(experts); }) {
    try {
      gate.check(experts);
    } catch (const std::invalid_argument&) {
      return true;
    }
  }
  return false;
}

/// Whether noise changed who is chosen or with which weight.
template <class S>
bool differ(const Routing<S>& a, const Routing<S>& b) {
  if (a.choices.size() != b.choices.size()) return true;
  for (std::size_t i = 0; i < a.choices.size(); ++i)
    if (a.choices[i].token != b.choices[i].token || a.choices[i].expert != b.choices[i].expert ||
        a.choices[i].weight != b.choices[i].weight)
      return true;
  return false;
}

TEST(EveryGate, FeelsNoiseOrRefusesIt) {
  std::mt19937_64 rng(4);
  const Matrix logits_TE = support::random_matrix(tokens, experts, rng);
  const auto check = [&](const std::string& name, const auto& noisy, const auto& gate) {
    if (is_refused(noisy) || name == "Gumbel noise, Threshold of 0") return;  // that chooses all
    Random random(5), same(5);
    EXPECT_TRUE(differ(decide(noisy, logits_TE, &random), decide(gate, logits_TE, &same))) << name;
  };
  for_each_gate<double>([&](const std::string& name, const auto& gate, bool) {
    using G = std::remove_cvref_t<decltype(gate)>;
    check("fixed noise, " + name, moe::FixedNoise<G>{gate, 1000.}, gate);
    check("Gumbel noise, " + name, moe::GumbelNoise<G>{gate, false, 1000.}, gate);
    EXPECT_TRUE(is_refused(moe::FixedNoise<moe::GumbelNoise<G>>{{gate}, 1.})) << name;
    EXPECT_TRUE(is_refused(moe::GumbelNoise<moe::FixedNoise<G>>{{gate, 1.}})) << name;
    EXPECT_TRUE(is_refused(moe::FixedNoise<moe::Prioritized<moe::FixedNoise<G>>>{{{gate, 1.}}, 1.})) << name;
  });
  EXPECT_FALSE(is_refused(moe::FixedNoise<moe::Sinkhorn>{{}, 1000.}));
  EXPECT_TRUE(is_refused(moe::FixedNoise<moe::SparseMixer>{{}, 1000.}));
  EXPECT_TRUE(is_refused(moe::FixedNoise<moe::Hash>{{.tables = {{0, 1, 2}}}, 1.}));
}

/// Gates that send each token to one expert, with weights that may be divided by their sum or not.
template <class F>
void for_each_gate_of_one_choice(F&& f) {
  for (const bool divided : {false, true}) {
    const auto weights = divided ? ChoiceWeights::renormalized() : ChoiceWeights::probabilities();
    const Scores scores = Scores::sigmoid({.normalize = divided});
    const auto one = [&](auto gate) {
      f(gate, divided);
      if constexpr (requires { gate.weights = weights; }) {
        auto meant = gate;
        meant.weights = weights.allowing_constant();
        f(meant, false);
      }
      f(moe::Prioritized<decltype(gate)>{gate}, divided && !is_refused(gate) ? false : is_refused(gate));
    };
    one(moe::TopK{.k = 1, .weights = weights});
    one(moe::TopP{.most = 1, .weights = weights});
    one(moe::VariableTopK{.k_T = {1, 0, 1}, .weights = weights});
    one(moe::Hash{.tables = {{0, 1, 2}}, .weights = weights});
    one(moe::Hash{.tables = {{0, 1, 2}}, .weights = scores});
    one(moe::TopK{.k = 1, .weights = scores});
    one(moe::ScoredTopK{.k = 1, .scores = scores});
    f(moe::ScoredTopK{.k = 1, .scores = Scores::sigmoid({.normalize = divided, .allow_constant = true})}, false);
    moe::Replay<double> replay = moe::Replay<double>::uniform(tokens, experts, 1);
    replay.weights = weights;
    one(replay);
  }
  f(moe::Sinkhorn{.k = 1}, false);
  f(moe::BaseAssignment{}, false);
  f(moe::OptionalChoices{.send = moe::OptionalChoices::Send::never}, false);
  f(moe::OptionalChoices{.send = moe::OptionalChoices::Send::above_threshold, .threshold = 0.5}, false);
  f(moe::SparseMixer{.k = 1}, false);
  f(moe::NoTokenLeftBehind{}, false);
}

// Weights that are always 1 are refused by whatever door they come, unless they are asked for by name.
TEST(EveryGate, RefusesWeightsThatAreAlwaysOne) {
  std::mt19937_64 rng(5);
  for_each_gate_of_one_choice([&](const auto& gate, bool refused) {
    EXPECT_EQ(is_refused(gate), refused);
    if (refused) return;
    EXPECT_EQ(moe::detail::most_choices(gate, experts), 1);
    const auto layer_with = [&](moe::DispatchOptions options) {
      return moe::Layer{support::random_router(experts, 3, rng), gate,
                        support::random_experts<moe::Linear<double>>(experts, 3, 3, rng), options};
    };
    moe::DispatchOptions options;
    EXPECT_NO_THROW(layer_with(options));
    options.renormalize_kept = true;
    EXPECT_THROW(layer_with(options), std::invalid_argument);
  });
}

}  // namespace gates_test
}  // namespace properties
