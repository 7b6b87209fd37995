// The weights of choices, whoever made them, and their gradients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "moe/core/buffer.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/division.hpp"
#include "moe/gating/scores.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The options of ChoiceWeights::renormalized.
struct RenormalizeOptions {
  Epsilon epsilon = 0;
  double norm = 1;              ///< q: the divisor is (sum of the token's chosen p^q)^(1/q) (MegaBlocks, DBRX).
  bool allow_constant = false;  ///< A single choice is meant. Its weight is always 1, and the router cannot learn.

  constexpr bool operator==(const RenormalizeOptions&) const = default;
};

/// What the output of a chosen expert is multiplied by. p = softmax(logits) over all experts. A gate of your own that
/// has a member of this type calls `check`, `routing.set_probabilities()` and `weigh`, and `backward`.
class ChoiceWeights {
 public:
  /// softmax over the token's chosen logits (Shazeer et al. 2017 eq. 3; Megatron-Core's default, gpt-oss). This is
  /// `renormalized` without an epsilon.
  static constexpr ChoiceWeights softmax_of_chosen() { return ChoiceWeights(Kind::divided, {}); }

  /// p / (sum of the token's chosen p + epsilon) (Mixtral, Qwen3; DeepSeek-V3 with epsilon 1e-20). Throws
  /// std::invalid_argument unless epsilon is in [0, 1) and norm in [1, 7].
  static constexpr ChoiceWeights renormalized(const RenormalizeOptions& options = {}) {
    const double &epsilon = options.epsilon.value, &norm = options.norm;
    if (!(detail::is_finite_setting(epsilon) && epsilon >= 0 && epsilon < 1))
      require(false, "ChoiceWeights: epsilon is ", epsilon, ", it must be in [0, 1)");
    if (!(detail::is_finite_setting(norm) && norm >= 1 && norm <= 7))
      require(false, "ChoiceWeights: norm is ", norm, ", it must be in [1, 7]: beyond, powers underflow");
    return ChoiceWeights(Kind::divided, options);
  }

  /// p as it is (Switch, V-MoE, OLMoE, DeepSeek-V2).
  static constexpr ChoiceWeights probabilities() { return ChoiceWeights(Kind::probabilities, {}); }

  /// sigmoid(logit) (BASE, DynMoE, Megatron-Core's Sinkhorn). The probabilities stay softmax(logits); with
  /// Scores::sigmoid({.normalize = false}) they are the sigmoids divided by their sum.
  static constexpr ChoiceWeights sigmoid() { return ChoiceWeights(Kind::sigmoid, {}); }

  /// 1 / number of the token's choices: the router then learns nothing from the output.
  static constexpr ChoiceWeights uniform() { return ChoiceWeights(Kind::uniform, {}); }

  /// The weights that these scores make. The probabilities are then the scores divided by their sum over all experts.
  constexpr ChoiceWeights(const Scores& scores)  // NOLINT(google-explicit-constructor)
      : ChoiceWeights(Kind::scores, {}) {
    scores_ = scores;
    options_.allow_constant = scores.options().allow_constant;
  }

  /// The same, where a single choice, whose weight is always the same, is meant.
  constexpr ChoiceWeights allowing_constant(bool allow = true) const {
    ChoiceWeights weights = *this;
    weights.options_.allow_constant = options_.allow_constant || allow;
    return weights;
  }

  /// Those of `renormalized`; of no meaning for other weights.
  constexpr const RenormalizeOptions& options() const { return options_; }

  /// Whether logits have an influence.
  constexpr bool reads_logits() const { return kind_ != Kind::uniform; }

  /// Whether they are the probabilities, as they are.
  constexpr bool are_probabilities() const { return kind_ == Kind::probabilities; }

  /// Whether they are divided by the sum over the token's choices.
  constexpr bool are_divided() const {
    return kind_ == Kind::divided || (kind_ == Kind::scores && scores_->options().normalize);
  }

  /// Whether they could only ever be the same number in a gate of one choice, and that is not meant.
  constexpr bool need_several_choices() const { return are_divided() && !options_.allow_constant; }

  /// Whether the weights of a token never add up to more than 1.
  constexpr bool add_up_to_one_at_most() const {
    if (kind_ == Kind::scores) return scores_->options().normalize && scores_->options().scale <= 1;
    return kind_ != Kind::sigmoid && options_.norm == 1;
  }

  /// Throws std::invalid_argument, in the name of `gate`, if the weights could only ever be the same number: if they
  /// are divided by their sum, and the gate sends a token to one of several experts. `where` says when that is so.
  void check(std::string_view gate, std::string_view where, Index most_choices, Index experts) const {
    require(!need_several_choices() || most_choices != 1 || experts == 1, gate, ": ", where,
            " the normalised weight is always the same and the router learns nothing from the output; use ",
            kind_ == Kind::scores ? "Scores with normalize = false"
                                  : "ChoiceWeights::probabilities() (as Switch does), or Scores with normalize = false",
            ", or allow_constant = true if that is meant");
  }

  /// Sets the weights of all choices, given the probabilities that `routing.set_probabilities()` writes. Scores replace
  /// these by their own.
  template <class S>
  void weigh(Routing<S>& routing) const {
    if (kind_ == Kind::scores) return scores_->weigh(routing);
    const Matrix<S>& logits_TE = routing.weighing_logits_TE();
    for (Choice<S>& c : routing.choices) {
      const S logit = logits_TE(c.token, c.expert);
      c.weight = kind_ == Kind::probabilities ? routing.probabilities_TE(c.token, c.expert)
                 : kind_ == Kind::sigmoid     ? detail::sigmoid(logit)
                 : kind_ == Kind::uniform     ? S(0)
                                              : logit;
    }
    if (kind_ == Kind::probabilities || kind_ == Kind::sigmoid) return;
    division().divide(routing, &logits_TE);
  }

  /// Adds to the gradients of the logits that weigh, given those of the weights and of the probabilities.
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    if (kind_ == Kind::scores) return scores_->backward(routing, drouting);
    Matrix<S>& dlogits_TE = drouting.weighing_logits_TE();
    Buffer<Matrix<S>>& sum_T = drouting.workspace.rows_TE;  // of d log p, where it is not 0
    const bool has_sum = kind_ == Kind::divided && options_.epsilon.value > 0;
    if (has_sum) {
      sum_T.resize(routing.tokens(), 1);
      sum_T.setZero();
    }
    if (kind_ == Kind::divided)
      division().backward(routing, drouting, dlogits_TE.data(), has_sum ? sum_T.data() : nullptr);
    else if (kind_ != Kind::uniform)
      for (std::size_t i = 0; i < routing.choices.size(); ++i) {
        const Choice<S>& c = routing.choices[i];
        const S dweight = drouting.choices[i].weight;
        if (kind_ == Kind::probabilities)
          drouting.probabilities_TE(c.token, c.expert) += dweight;
        else  // d sigmoid(z) = w (1 - w)
          dlogits_TE(c.token, c.expert) += dweight * c.weight * (S(1) - c.weight);
      }
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        detail::softmax_row_backward(detail::row_at(routing.probabilities_TE, t),
                                     detail::row_at(drouting.probabilities_TE, t), routing.experts(),
                                     detail::row_at(dlogits_TE, t), has_sum ? sum_T.data()[t] : S(0));
  }

  constexpr bool operator==(const ChoiceWeights&) const = default;

 private:
  enum class Kind : std::uint8_t { divided, probabilities, sigmoid, uniform, scores };

  constexpr ChoiceWeights(Kind kind, const RenormalizeOptions& options) : kind_(kind), options_(options) {}

  detail::Division division() const { return {options_.epsilon, options_.norm}; }

  Kind kind_;
  RenormalizeOptions options_;
  std::optional<Scores> scores_ = {};
};

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void ChoiceWeights::weigh(Routing<float>&) const;
MOE_DETAIL_INSTANCE void ChoiceWeights::backward(const Routing<float>&, Routing<float>&) const;
MOE_DETAIL_INSTANCE void ChoiceWeights::weigh(Routing<double>&) const;
MOE_DETAIL_INSTANCE void ChoiceWeights::backward(const Routing<double>&, Routing<double>&) const;
#endif

MOE_NAMESPACE_END
