// The gates of the families, made from their settings: what a system does stands in moe/gating/README.md.
#pragma once

#include <string>

#include "moe/core/core.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_settings.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Weights that are divided by their sum are always 1 where a token has one choice: a model that has it means it.
inline ChoiceWeights divided_weights(Index choices, double norm = 1) {
  return ChoiceWeights::renormalized({.norm = norm, .allow_constant = choices == 1});
}

/// The k largest, by the probabilities p or by p divided by their sum, as `normalize` says.
inline io::FamilyGate top_k_gate(const io::Settings& settings) {
  const Index k = settings.required(io::Key::choices);
  const bool divided = settings.flag(io::Key::normalize, false);
  return TopK{.k = k, .weights = divided ? divided_weights(k) : ChoiceWeights::probabilities()};
}

/// The same, divided by a p-norm if there is one.
inline io::FamilyGate normed_gate(const io::Settings& settings) {
  const Index k = settings.required(io::Key::choices);
  const auto norm = settings.number(io::Key::norm);
  return TopK{.k = k, .weights = norm ? divided_weights(k, *norm) : ChoiceWeights::probabilities()};
}

inline io::FamilyGate softmax_of_chosen_gate(const io::Settings& settings) {
  const Index k = settings.required(io::Key::choices);
  return TopK{.k = k, .weights = ChoiceWeights::softmax_of_chosen().allowing_constant(k == 1)};
}

/// Llama 4: the sigmoid of the logit, on the expert's input.
inline io::FamilyGate sigmoid_gate(const io::Settings& settings) {
  return TopK{.k = settings.required(io::Key::choices), .weights = ChoiceWeights::sigmoid()};
}
inline DispatchOptions weigh_input(const io::Settings&) {
  DispatchOptions options;
  options.weigh_input = true;
  return options;
}

inline io::FamilyGate sparse_mixer_gate(const io::Settings& settings) {
  return SparseMixer{.k = settings.required(io::Key::choices), .band = settings.number(io::Key::band, 0.01)};
}

/// Scores, divided or not and scaled, in the best of the groups.
inline ScoredTopK scored_gate(const io::Settings& settings, const Scores& scores, ScoredTopK::GroupScore group_score) {
  ScoredTopK gate{.k = settings.required(io::Key::choices), .scores = scores};
  gate.groups = settings.integer(io::Key::groups, 1);
  gate.groups_used = settings.integer(io::Key::groups_used, gate.groups);
  gate.group_score = group_score;
  return gate;
}

/// The options of scores as `normalize`, `scale` and `least_sum` say.
inline ScoreOptions score_options(const io::Settings& settings, Epsilon epsilon) {
  const auto least_sum = settings.number(io::Key::least_sum);
  return {.normalize = settings.flag(io::Key::normalize, true),
          .epsilon = least_sum ? Epsilon::floor(*least_sum) : epsilon,
          .scale = settings.number(io::Key::scale, 1),
          .allow_constant = settings.integer(io::Key::choices) == 1};
}

/// DeepSeek-V2: softmax scores as they are; a group is as good as its best expert.
inline io::FamilyGate deepseek_v2_gate(const io::Settings& settings) {
  const std::string method = settings.text(io::Key::method).value_or("greedy");
  if (method != "greedy" && method != "group_limited_greedy")
    settings.fail("setting ", settings.name_of(io::Key::method), " is ", in_quotes(method),
                  ", not 'greedy' or 'group_limited_greedy'");
  ScoreOptions options = score_options(settings, {});
  options.normalize = false;
  ScoredTopK gate = scored_gate(settings, Scores::softmax(options), ScoredTopK::GroupScore::best);
  if (method == "greedy") gate.groups = gate.groups_used = 1;
  return gate;
}

/// DeepSeek-V3 and those after it: sigmoid scores, or what the setting names; a group is as good as its best two.
inline io::FamilyGate deepseek_v3_gate(const io::Settings& settings) {
  const std::string scores = settings.text(io::Key::scores).value_or("sigmoid");
  const ScoreOptions options = score_options(settings, 1e-20);
  if (scores == "sigmoid") return scored_gate(settings, Scores::sigmoid(options), ScoredTopK::GroupScore::best_two);
  if (scores == "softmax") return scored_gate(settings, Scores::softmax(options), ScoredTopK::GroupScore::best_two);
  if (scores == "sqrtsoftplus")
    return scored_gate(settings, Scores::sqrt_softplus(options), ScoredTopK::GroupScore::best_two);
  settings.fail("setting ", settings.name_of(io::Key::scores), " is ", in_quotes(scores),
                ", not 'sigmoid', 'softmax' or 'sqrtsoftplus'");
}

/// ERNIE 4.5, LongCat-Flash: softmax scores, with a selection bias.
inline io::FamilyGate softmax_scores_gate(const io::Settings& settings) {
  return scored_gate(settings, Scores::softmax(score_options(settings, {})), ScoredTopK::GroupScore::best_two);
}

/// llama.cpp's: a group is as good as its best two, whatever the scores; a sum below 6.1035e-5 divides as that. The sum
/// of the k largest of a softmax is never so small, so that a plain softmax is a TopK.
inline io::FamilyGate gguf_gate(const io::Settings& settings) {
  enum { softmax = 1, sigmoid, softmax_of_chosen, sqrt_softplus };
  const Index groups = settings.integer(io::Key::groups, 1), method = settings.integer(io::Key::scores, softmax);
  ScoreOptions options = score_options(settings, Epsilon::floor(6.1035e-5));
  if (options.scale == 0) options.scale = 1;  // none
  if (method == softmax_of_chosen) return softmax_of_chosen_gate(settings);
  const bool is_plain = groups <= 1 && options.scale == 1 && settings.slot(io::Part::selection_bias) == nullptr;
  if ((method == 0 || method == softmax) && is_plain) return top_k_gate(settings);
  const auto scored = [&](const Scores& scores) {
    return scored_gate(settings, scores, ScoredTopK::GroupScore::best_two);
  };
  if (method == 0 || method == softmax) return scored(Scores::softmax(options));
  if (method == sigmoid) return scored(Scores::sigmoid(options));
  if (method == sqrt_softplus) return scored(Scores::sqrt_softplus(options));
  settings.fail("setting ", settings.name_of(io::Key::scores), " is ", method, ", not 1, 2, 3 or 4");
}

/// gpt-oss: silu and its clamp.
inline io::ExpertForm gpt_oss_form(const io::Settings& settings) {
  return {.activation = "silu", .clamp = {.alpha = 1.702, .limit = settings.number(io::Key::limit, 7), .offset = 1}};
}

/// NLLB: weights are divided by their sum after dropping, or before, as `normalize` says.
inline io::FamilyGate nllb_gate(const io::Settings& settings) {
  const std::string method = settings.text(io::Key::method).value_or("all");
  if (method != "all")
    settings.fail("setting ", settings.name_of(io::Key::method), " is ", in_quotes(method),
                  ": second choices that are left out by chance are no gate of this table");
  return top_k_gate(settings);
}

/// Switch and NLLB: a capacity; that of evaluation may be another.
inline DispatchOptions with_capacity(const io::Settings& settings) {
  DispatchOptions options;
  if (const auto slots = settings.integer(io::Key::capacity)) options.capacity = Capacity::exactly(*slots);
  if (const auto share = settings.number(io::Key::inference_capacity))
    options.capacity = options.capacity.at_inference(Capacity::share_of_tokens(*share));
  return options;
}
inline DispatchOptions nllb_dispatching(const io::Settings& settings) {
  DispatchOptions options = with_capacity(settings);
  options.renormalize_kept = !settings.flag(io::Key::normalize, false);
  return options;
}

}  // namespace detail

MOE_NAMESPACE_END
