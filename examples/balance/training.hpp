// Trains a language model with one way to balance its router, and watches the router.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include "support/budget.hpp"
#include "support/domains.hpp"
#include "support/held_out.hpp"
#include "support/small_language_model.hpp"

namespace balance {

using moe::Index;

inline constexpr Index experts = 16, hidden = 128;  ///< hidden: of each expert, half of the dense network's

inline constexpr double default_rate = 1e-2;

/// One row of the table.
struct Setting {
  std::string name;
  example::AnyGate<float> gate;
  example::LossCoefficients losses = {};
  double bias_rate = 0;  ///< Of ScoredTopK's selection bias.
  double learning_rate = default_rate;
  bool by_quantile = false;  ///< Of ScoredTopK: its bias is set by QuantileBalance.

  /// The z-loss is not made for it.
  bool balances() const {
    return by_quantile || bias_rate > 0 || losses.importance > 0 || losses.load > 0 || losses.load_balance > 0;
  }
};

struct Watched {
  double loss;         ///< Bits per byte of the step's batch.
  double fullest;      ///< Greatest load / mean load.
  double log_sum_exp;  ///< Of the router's logits, root mean square: what the z-loss keeps small.
};

struct Run {
  std::vector<Watched> steps;
  example::HeldOut held_out;
  bool diverged = false;  ///< A gradient was not finite.

  /// The log-sum-exp of the step where it is the greatest.
  double peak() const {
    double greatest = 0;
    for (const Watched& step : steps) greatest = (std::max)(greatest, step.log_sum_exp);
    return greatest;
  }

  /// Steps whose loss exceeds the mean of the eight before them by a quarter.
  Index spikes() const {
    Index count = 0;
    double before = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (i >= 8 && steps[i].loss > 1.25 * before / 8) ++count;
      before += steps[i].loss - (i >= 8 ? steps[i - 8].loss : 0);
    }
    return count;
  }

  /// On the held-out text, of the most used expert.
  double fullest() const { return held_out.load_E.maxCoeff() / held_out.load_E.mean(); }
};

/// The router starts from 0 where noise breaks the tie (Shazeer et al. 2017, appendix A), from normal numbers
/// elsewhere.
inline example::MoeLayer<float> make_mixture(const Setting& setting, moe::Random& random) {
  const Index width = example::small_size.width;
  auto parts = moe::make_experts<moe::Mlp<float, moe::Relu>>(experts, width, hidden, random);
  const bool noisy = std::holds_alternative<moe::NoisyTopK<float>>(setting.gate.gate);
  auto router = noisy ? moe::Router<float>::zeros(experts, width) : moe::Router<float>::random(experts, width, random);
  return {std::move(router), setting.gate, std::move(parts), setting.losses.losses()};
}

inline Watched watch(double loss, const example::MoeLayer<float>::Tape& tape) {
  return {loss, 1 + moe::load_of(tape.plan).max_violation,
          std::sqrt(static_cast<double>(moe::RouterZLoss{}.value(tape.routing)))};
}

inline Run train(const Setting& setting, const example::Domains& text, const example::Budget& budget,
                 Index test_batches) {
  const auto mixture = [&](moe::Random& random) { return make_mixture(setting, random); };
  example::MoeLanguageTraining training(example::small_language_model(text.alphabet, budget.seed, mixture),
                                        {.sequences = 8, .learning_rate = setting.learning_rate, .seed = budget.seed});
  const example::Pace pace(budget.steps, budget.seconds);
  moe::QuantileBalance balance;
  Run run;
  for (double used = 0; used < 1; used = pace.fraction(training.step)) {
    double loss = 0;
    try {
      loss = training.advance(text.train, used);
    } catch (const std::runtime_error&) {
      run.diverged = true;
      break;
    }
    const auto& tape = training.tape.transformer.blocks.back().ffn;
    run.steps.push_back(watch(loss, tape));
    if (!setting.by_quantile && setting.bias_rate == 0) continue;
    auto& gate = std::get<moe::ScoredTopK>(training.model.transformer.ffns.back().gate.gate);
    if (setting.by_quantile) {
      balance.add(gate, tape.routing);
      balance.update(gate);
    } else {
      moe::update_bias(gate.selection_bias_E, moe::load_of(tape.plan), {.rate = setting.bias_rate});
    }
  }
  run.held_out = example::test_on(training.model, text.held_out, test_batches, training.options);
  return run;
}

}  // namespace balance
