// Trains a language model at a capacity factor, and tests it at any, whoever is dropped.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/budget.hpp"
#include "support/domains.hpp"
#include "support/held_out.hpp"
#include "support/small_language_model.hpp"
#include "support/svg.hpp"

namespace capacity {

using example::MoeLanguageModel;
using moe::Index;

inline constexpr Index experts = 8;
inline constexpr double unlimited = std::numeric_limits<double>::infinity();

inline std::string name_of(double factor) { return factor < unlimited ? example::label(factor) : "unlimited"; }

inline moe::Capacity capacity_of(double factor) {
  return factor < unlimited ? moe::Capacity::factor(factor) : moe::Capacity::unlimited();
}

/// Who goes without an expert that is full.
enum class Drop {
  latest,         ///< Those that come last in the batch: how all are trained here.
  lowest_weight,  ///< Of all choices those of the lowest weight.
  least_sure,     ///< Of each rank the tokens of the lowest first weight: batch-prioritised routing (V-MoE).
  nobody,         ///< They go to another expert as long as one accepts them: no token left behind (Switch, appendix B).
};

inline constexpr std::array drops{Drop::latest, Drop::lowest_weight, Drop::least_sure, Drop::nobody};
inline constexpr std::array<const char*, drops.size()> drop_names{"latest", "lowest weight", "least sure", "rerouted"};

/// Switch for k = 1, GShard for 2.
inline moe::TopK choices_of(Index k) { return k == 1 ? moe::switch_top1() : moe::gshard_top2().top_k; }

/// Rerouting needs weights that do not change with the other choice, which GShard's do.
inline bool is_possible(Index k, Drop drop) { return k == 1 || drop != Drop::nobody; }

/// In tests both of GShard's choices are sent, so that a TopK is the same gate.
inline example::AnyGate<float> test_gate(Index k, double factor, Drop drop) {
  const moe::TopK top_k = choices_of(k);
  switch (drop) {
    case Drop::latest:
      return top_k;
    case Drop::lowest_weight:
      return moe::Prioritized{top_k, moe::Priority::weight};
    case Drop::least_sure:
      return moe::Prioritized{top_k, moe::Priority::best_probability};
    case Drop::nobody:
      break;
  }
  return moe::NoTokenLeftBehind{top_k, capacity_of(factor)};
}

inline example::MoeLayer<float> make_mixture(Index k, double factor, moe::Random& random) {
  const auto [width, heads, blocks, hidden] = example::small_size;
  auto parts = moe::make_experts<moe::Mlp<float, moe::Relu>>(experts, width, hidden, random);
  const auto gate = k == 1 ? example::AnyGate<float>(moe::switch_top1()) : example::AnyGate<float>(moe::gshard_top2());
  return {moe::Router<float>::random(experts, width, random), gate, std::move(parts),
          example::LossCoefficients{.load_balance = 1e-2}.losses(), capacity_of(factor)};
}

struct Model {
  Index k;
  MoeLanguageModel model;
  example::TrainingOptions options;
};

/// With another factor and another order of dropping than the training's, perhaps. Who is dropped may hang on tokens
/// that come later in the batch, as it does in training, where all first choices are served before the second ones.
inline example::HeldOut test(Model trained, double factor, Drop drop, const example::Domains& text, Index batches) {
  auto& layer = trained.model.transformer.ffns.back();
  layer.gate = test_gate(trained.k, factor, drop);
  layer.dispatching.capacity = capacity_of(factor);
  return example::test_on(trained.model, text.held_out, batches, trained.options);
}

struct Result {
  double dropped_share = 0;                             ///< In the last quarter of training.
  double tokens_per_second = 0;                         ///< In training, one thread.
  example::HeldOut own = {};                            ///< At the factor of the training.
  std::vector<std::vector<example::HeldOut>> cut = {};  ///< At other factors, by who is dropped.
};

inline Model train(Index k, double factor, const example::Domains& text, const example::Budget& budget,
                   Result& result) {
  const auto mixture = [&](moe::Random& random) { return make_mixture(k, factor, random); };
  example::MoeLanguageTraining training(example::small_language_model(text.alphabet, budget.seed, mixture),
                                        {.sequences = 8, .learning_rate = 1e-2, .seed = budget.seed});
  const example::Pace pace(budget.steps, budget.seconds);
  std::vector<double> dropped;
  const auto start = std::chrono::steady_clock::now();
  for (double used = 0; used < 1; used = pace.fraction(training.step)) {
    training.advance(text.train, used);
    dropped.push_back(moe::load_of(training.tape.transformer.blocks.back().ffn.plan).dropped_share);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  result.tokens_per_second = static_cast<double>(training.step * training.options.tokens()) / elapsed.count();
  const auto first = static_cast<std::ptrdiff_t>(dropped.size() * 3 / 4);
  const double sum = std::accumulate(dropped.begin() + first, dropped.end(), 0.0);
  result.dropped_share = sum / static_cast<double>(dropped.end() - dropped.begin() - first);
  return {k, std::move(training.model), training.options};
}

/// Trains at one factor and tests there, and at `others`.
inline Result train_and_test(Index k, double factor, const std::vector<double>& others, const example::Domains& text,
                             const example::Budget& budget) {
  const Index batches = budget.quick ? 8 : 24;
  Result result;
  const Model model = train(k, factor, text, budget, result);
  result.own = test(model, factor, Drop::latest, text, batches);
  for (const double other : others) {
    result.cut.emplace_back();
    for (const Drop drop : drops)
      if (is_possible(k, drop)) result.cut.back().push_back(test(model, other, drop, text, batches));
  }
  return result;
}

}  // namespace capacity
