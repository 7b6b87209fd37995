// The gates of the families in one form, so that two of them can be compared, whatever types and settings made them.
#pragma once

#include <string_view>
#include <variant>

#include "moe/core/core.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sparse_mixer.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/io/family.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Two gates of the same form choose the same experts with the same weights. What does not matter is left out: the
/// score of groups of which all are used, and numbers that only guard a division by zero, epsilons up to 1e-4, which
/// differ between programs that run the same model.
struct RoutingForm {
  enum class Kind { softmax, sigmoid, sqrt_softplus, sparse_mixer, other };

  Kind kind = Kind::other;
  Index k = 0;
  bool normalize = false;  // weights are divided by their sum, or by a p-norm
  double norm = 1;
  double least_sum = 0;  // or an epsilon
  double scale = 1;
  Index groups = 1, groups_used = 1;
  ScoredTopK::GroupScore group_score = ScoredTopK::GroupScore::best_two;
  bool from_each_group = false;
  bool adds_to_logits = false;    // a selection bias, not to scores
  double band = 0, midpoint = 0;  // of SparseMixer

  static RoutingForm of(const io::FamilyGate& gate) {
    return std::visit([](const auto& own) { return form(own); }, gate);
  }

  /// The first thing in which they differ; empty if there is none. Numbers are compared as floats, in which GGUF files
  /// keep them.
  std::string_view difference(const RoutingForm& other) const {
    const auto same = [](double a, double b) { return static_cast<float>(a) == static_cast<float>(b); };
    constexpr double guard = 1e-4;
    if (kind != other.kind) return "the scores of experts";
    if (k != other.k) return "the number of choices";
    if (normalize != other.normalize) return "whether weights are divided by their sum";
    if (!same(norm, other.norm)) return "the p-norm that divides weights";
    if ((least_sum > guard || other.least_sum > guard) && !same(least_sum, other.least_sum))
      return "the least sum that divides weights";
    if (!same(scale, other.scale)) return "the scale of weights";
    if (groups != other.groups || groups_used != other.groups_used || from_each_group != other.from_each_group)
      return "the groups of experts";
    if (groups_used < groups && group_score != other.group_score) return "the score of a group of experts";
    if (adds_to_logits != other.adds_to_logits) return "what the selection bias is added to";
    if (!same(band, other.band) || !same(midpoint, other.midpoint)) return "the band or midpoint of SparseMixer";
    return {};
  }

 private:
  static RoutingForm form(const TopK& gate) {
    RoutingForm form{.kind = Kind::softmax, .k = gate.k};
    const ChoiceWeights sigmoid = ChoiceWeights::sigmoid();
    if (gate.weights == sigmoid || gate.weights == sigmoid.allowing_constant()) {
      form.kind = Kind::sigmoid;
      return form;
    }
    const RenormalizeOptions& options = gate.weights.options();
    const bool is_divided =
        gate.weights == ChoiceWeights::renormalized(options).allowing_constant(options.allow_constant);
    if (!is_divided && !gate.weights.are_probabilities()) return {.k = gate.k};
    form.normalize = is_divided;
    if (is_divided) {
      form.norm = options.norm;
      form.least_sum = options.epsilon.value;
    }
    return form;
  }
  static RoutingForm form(const ScoredTopK& gate) {
    const ScoreOptions& options = gate.scores.options();
    RoutingForm form{.kind = gate.scores.function() == ScoreFunction::softmax   ? Kind::softmax
                             : gate.scores.function() == ScoreFunction::sigmoid ? Kind::sigmoid
                                                                                : Kind::sqrt_softplus,
                     .k = gate.k,
                     .normalize = options.normalize,
                     .scale = options.scale};
    if (options.normalize) form.least_sum = options.epsilon.value;
    form.adds_to_logits = gate.bias_on == ScoredTopK::BiasOn::logits && gate.selection_bias_E.size() > 0;
    form.from_each_group = gate.from_each_group && gate.groups > 1;
    if (gate.groups_used < gate.groups || form.from_each_group) {
      form.groups = gate.groups;
      form.groups_used = gate.groups_used;
      form.group_score = gate.group_score;
    }
    return form;
  }
  static RoutingForm form(const SparseMixer& gate) {
    return {.kind = Kind::sparse_mixer, .k = gate.k, .band = gate.band, .midpoint = gate.midpoint};
  }
};

}  // namespace detail

MOE_NAMESPACE_END
