// Pretraining on one text and fine-tuning on a little of another, in several ways.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../support/budget.hpp"
#include "../support/moe_language.hpp"

namespace fine_tuning {

using example::Index;
using Model = example::MoeLanguageModel;

struct Setup {
  example::Budget budget{.steps = 600};  ///< Of each of the fine-tunings.
  Index pretraining = 600;               ///< Steps.
  Index piece = 8000;                    ///< Bytes to fine-tune on.
  Index tested = 8000;                   ///< Bytes after the piece; of the piece as many are told at most.
  Index experts = 16, expert_hidden = 128, length = 64;
  example::ModelSize size{.width = 64, .heads = 4, .blocks = 2, .hidden = 256};
  int checks = 12;  ///< Points of each curve.

  double share(int check) const { return static_cast<double>(check) / checks; }
  /// Of one of the nine trainings.
  example::Pace pace(Index steps) const { return example::Pace(steps, budget.seconds / 9); }

  void make_quick() {
    budget.steps = (std::min)(budget.steps, Index{300});
    pretraining = 200;
    piece = 6000;
    tested = 2500;
    experts = 8;
    expert_hidden = 64;
    length = 32;
    size = {.width = 32, .heads = 2, .blocks = 2, .hidden = 64};
    checks = 5;
  }
};

/// ST-MoE's top-2 gate and losses in the last block, or dense throughout. A token meets as much of either.
inline Model random_model(const Setup& setup, Index codes, bool sparse) {
  moe::Random random(setup.budget.seed);
  const auto& size = setup.size;
  const auto make_ffn = [&](Index block) -> example::MoeLayer<float> {
    if (!sparse || block + 1 < size.blocks) return example::dense_layer<float>(size.width, size.hidden, random);
    return {moe::Router<float>::random(setup.experts, size.width, random), moe::st_moe_top_n(2),
            moe::make_experts<moe::Mlp<float>>(setup.experts, size.width, setup.expert_hidden, random),
            example::LossCoefficients{.load_balance = 1e-2, .router_z = 1e-3}.losses()};
  };
  return example::random_language_model<example::MoeLayer<float>>(codes, size, make_ffn, random);
}

/// Names of the mixture's parameters: router and experts.
inline std::string mixture(const Model& model) {
  return "transformer.ffns." + std::to_string(model.transformer.ffns.size() - 1);
}

struct Mode {
  std::string name;
  bool sparse = true;
  enum class Trained { all, mixture, rest } trained = Trained::all;
  double dropout = 0;  ///< Of the experts' hidden units.
  Index sequences = 8;
  double learning_rate = 2e-3;

  moe::Frozen frozen(const Model& model) const {
    if (trained == Trained::mixture) return moe::Frozen::all_but({mixture(model)});
    if (trained == Trained::rest) return {mixture(model)};
    return {};
  }
};

/// Bits per byte of what is learned from and of what is held out, before a step.
struct Check {
  double text = 0;  ///< Trained on so far, in bytes.
  double train = 0, held_out = 0;
};

struct Run {
  Mode mode;
  std::vector<Check> curve = {};  ///< From before the first step to after the last.
  Index moved_parameters = 0;     ///< Number of entries of those that have changed.
  bool frozen_kept = true;        ///< Whether frozen parameters have the bits that they had.

  const Check& last() const { return curve.back(); }
  /// The lowest held-out bits, as early stopping finds them.
  const Check& best() const {
    return *std::min_element(curve.begin(), curve.end(),
                             [](const Check& a, const Check& b) { return a.held_out < b.held_out; });
  }
};

inline void compare(Run& run, const moe::Frozen& frozen, const Model& before, const Model& after) {
  moe::for_each_parameter(
      [&](std::string_view name, const auto& old_value, const auto& new_value) {
        const auto size = static_cast<std::size_t>(old_value.size());
        const bool same = std::equal(old_value.data(), old_value.data() + size, new_value.data());
        if (frozen.contains(name)) run.frozen_kept = run.frozen_kept && same;
        if (!same) run.moved_parameters += old_value.size();
      },
      before, after);
}

using Text = std::span<const std::int64_t>;

inline void advance_to(example::MoeLanguageTraining& training, Text text, const example::Pace& pace, double share) {
  for (double used = pace.fraction(training.step); used < share; used = pace.fraction(training.step))
    training.advance(text, used);
}

/// As much text as `steps` steps of 8 sequences, in steps of as many sequences as the mode says.
inline Run fine_tune(const Setup& setup, const Model& pretrained, const Mode& mode, Text train, Text held_out,
                     const std::function<void()>& on_check) {
  Run run{.mode = mode};
  Model model = pretrained;
  for (auto& expert : model.transformer.ffns.back().experts) expert.dropout.rate = mode.dropout;
  example::MoeLanguageTraining training(model, {.length = setup.length,
                                                .sequences = mode.sequences,
                                                .learning_rate = mode.learning_rate,
                                                .seed = setup.budget.seed + 1});
  training.adam.frozen = mode.frozen(model);
  const example::Pace pace = setup.pace((std::max)(Index{1}, setup.budget.steps * 8 / mode.sequences));
  const Text told = train.first((std::min)(train.size(), held_out.size()));
  for (int check = 0; check <= setup.checks; ++check) {
    advance_to(training, train, pace, setup.share(check));
    run.curve.push_back({static_cast<double>(training.step * training.options.tokens()),
                         bits_per_byte(training.model, told, setup.length),
                         bits_per_byte(training.model, held_out, setup.length)});
    on_check();
  }
  compare(run, training.adam.frozen, pretrained, training.model);
  return run;
}

inline Model pretrain(const Setup& setup, Index codes, bool sparse, Text text, const std::function<void()>& on_check) {
  example::MoeLanguageTraining training(random_model(setup, codes, sparse),
                                        {.length = setup.length, .learning_rate = 4e-3, .seed = setup.budget.seed});
  const example::Pace pace = setup.pace(setup.pretraining);
  for (int check = 1; check <= setup.checks; ++check) {
    advance_to(training, text, pace, setup.share(check));
    on_check();
  }
  return training.model;
}

}  // namespace fine_tuning
