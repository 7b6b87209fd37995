// Top-k: every token chooses its k best experts. With k = 1 and plain probabilities this is the Switch gate, with k = 2
// and renormalised ones Mixtral's, with k = E the dense mixture.
#pragma once

#include <cstddef>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What a chosen expert's output is multiplied with; p = softmax(logits) over all experts.
enum class ChoiceWeights {
  softmax_of_chosen,  ///< softmax over the k chosen logits (Shazeer et al. 2017 eq. 3; Megatron-Core's default,
                      ///< gpt-oss). In exact arithmetic the same as `renormalized` with epsilon 0, and safe where p
                      ///< underflows.
  renormalized,       ///< p / (sum of the k chosen p + epsilon) (Mixtral, Qwen3; DeepSeek-V3 with epsilon 1e-20)
  probabilities,      ///< p as it is (Switch, V-MoE, OLMoE, DeepSeek-V2)
  uniform,            ///< 1 / k: the experts' mean; the task then teaches the router nothing.
};

/// Selection compares logits, never probabilities, which may underflow to ties; equal logits go to the lower index.
/// Priority: all first choices in order of tokens, then all second choices, ...
struct TopK {
  Index k = 2;
  ChoiceWeights weights = ChoiceWeights::softmax_of_chosen;
  double epsilon = 0;  ///< Of `renormalized`.

  /// Throws std::invalid_argument if k does not lie in 1 .. E, or if k = 1 with weights that would always be 1.
  void check(Index experts) const {
    detail::require(k >= 1 && k <= experts, "TopK: k is ", k,
                    ", it must be 1 or more and at most the number of experts, ", experts);
    detail::require(epsilon >= 0 && epsilon < 1, "TopK: epsilon is ", epsilon, ", it must be in [0, 1)");
    const bool normalizes = weights == ChoiceWeights::softmax_of_chosen || weights == ChoiceWeights::renormalized;
    detail::require(k > 1 || experts == 1 || !normalizes,
                    "TopK: with k = 1 the normalised weight is always 1 and the router learns nothing from the task; "
                    "use ChoiceWeights::probabilities (as Switch does), or ChoiceWeights::uniform if that is meant");
  }

  template <class S>
  void route(const Batch<S>&, Routing<S>& routing, Random*) const {
    using detail::softmax_row;
    const Matrix<S>& logits_TE = routing.selection_logits_TE();
    const Index experts = routing.experts(), valid = routing.valid_tokens;
    auto& chosen = routing.workspace.indices;
    Vector<S>& weight_K = routing.workspace.chosen_K;
    chosen.resize(static_cast<std::size_t>(k));
    weight_K.resize(k);
    routing.choices_per_token = k;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    Index nth = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      softmax_row(logits_TE.row(t).data(), experts, routing.probabilities_TE.row(t).data());
      if (!routing.is_valid(t)) continue;
      detail::top_k(logits_TE.row(t).data(), experts, k, chosen.data());
      weigh(routing, t, weight_K);
      for (Index rank = 0; rank < k; ++rank)
        routing.choices[static_cast<std::size_t>(rank * valid + nth)] = {t, chosen[static_cast<std::size_t>(rank)],
                                                                         weight_K(rank), static_cast<int>(rank)};
      ++nth;
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    Matrix<S>& dlogits_TE = drouting.selection_logits_TE();
    Vector<S>& inner_T = drouting.workspace.token_T;   // sum over a token's choices of dweight * weight
    Vector<S>& total_T = drouting.workspace.token2_T;  // sum over a token's choices of p, + epsilon
    inner_T.setZero(routing.tokens());
    total_T.setConstant(routing.tokens(), static_cast<S>(epsilon));
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      inner_T(c.token) += drouting.choices[i].weight * c.weight;
      total_T(c.token) += routing.probabilities_TE(c.token, c.expert);
    }
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      const S dw = drouting.choices[i].weight;
      switch (weights) {
        case ChoiceWeights::softmax_of_chosen:  // w = softmax(z): dz = w (dw - sum dw w)
          dlogits_TE(c.token, c.expert) += c.weight * (dw - inner_T(c.token));
          break;
        case ChoiceWeights::renormalized:  // w = p / s, s = sum p + epsilon: dp = (dw - sum dw w) / s
          drouting.probabilities_TE(c.token, c.expert) += (dw - inner_T(c.token)) / total_T(c.token);
          break;
        case ChoiceWeights::probabilities:
          drouting.probabilities_TE(c.token, c.expert) += dw;
          break;
        case ChoiceWeights::uniform:
          break;
      }
    }
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        detail::softmax_row_backward(routing.probabilities_TE.row(t).data(), drouting.probabilities_TE.row(t).data(),
                                     routing.experts(), dlogits_TE.row(t).data());
  }

 private:
  /// The weights of token t's choices, which are in the workspace.
  template <class S>
  void weigh(const Routing<S>& routing, Index t, Vector<S>& weight_K) const {
    const bool from_logits = weights == ChoiceWeights::softmax_of_chosen;
    const Matrix<S>& from_TE = from_logits ? routing.selection_logits_TE() : routing.probabilities_TE;
    for (Index rank = 0; rank < k; ++rank)
      weight_K(rank) = from_TE(t, routing.workspace.indices[static_cast<std::size_t>(rank)]);
    if (from_logits) detail::softmax_row(weight_K.data(), k, weight_K.data());
    if (weights == ChoiceWeights::renormalized) {
      S sum = static_cast<S>(epsilon);
      for (Index rank = 0; rank < k; ++rank) sum += weight_K(rank);
      weight_K /= sum;
    }
    if (weights == ChoiceWeights::uniform) weight_K.setConstant(S(1) / static_cast<S>(k));
  }
};

static_assert(TrainableGate<TopK, float>);

MOE_NAMESPACE_END
