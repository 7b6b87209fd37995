// How choices become slots: the capacity, and what happens around it.
#pragma once

#include <cmath>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/capacity.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What a layer does with a token whose logits are not all finite.
enum class NonFinite {
  propagate,  ///< Routes it, in range and without duplicates: a NaN of its own or of its weights reaches its own row of
              ///< the output, no other. A lone logit that is NaN is an expert that is not chosen. If all are -infinity,
              ///< that is, every expert is masked, it has no probabilities: they are NaN, and losses with them.
  zero_row,   ///< Treats it as padding: a zero row, in no loss and no statistic.
  refuse,     ///< Throws std::invalid_argument, naming the token.
};

/// The defaults are what most systems do. A Capacity alone converts.
struct DispatchOptions {
  Capacity capacity = Capacity::unlimited();

  /// After dropping, the weights of a token's remaining choices are divided by max(their sum, renormalize_floor), so
  /// that a single survivor weighs 1 (DeepSpeed for k >= 2, fairseq, lingvo's newer code). Use it with a gate whose
  /// weights are probabilities. The others normalise before dropping (Mixtral, mesh, Tutel) or not at all.
  bool renormalize_kept = false;
  double renormalize_floor = 2.220446049250313e-16;
  bool allow_constant_weights = false;  ///< With renormalize_kept: a gate of one choice, of weight 1, is meant.

  /// A dropped choice adds weight * x instead of nothing (transformers' Switch before its version 5): O must be D.
  bool pass_dropped = false;

  /// The weight multiplies the expert's input instead of its output (Llama 4; Tutel's is_postscore = false).
  bool weigh_input = false;

  /// The weights' gradient gets a second term, x . d(expert's input), as if the input were x (1 + w - stop(w))
  /// (lucidrains' ST-MoE). The output is unchanged.
  bool straight_through = false;

  NonFinite non_finite = NonFinite::propagate;

  DispatchOptions() = default;
  template <class C>
  requires std::is_convertible_v<C, Capacity> DispatchOptions(const C& capacity_) : capacity(capacity_) {}

  /// Throws std::invalid_argument if they do not fit together.
  void check() const {
    require(renormalize_floor > 0, "DispatchOptions: renormalize_floor is ", renormalize_floor,
            ", it must be more than 0");
    require(!weigh_input || !straight_through,
            "DispatchOptions: straight_through is defined for weights on the output, not with weigh_input");
  }

  /// The same, and unless they suit a gate that sends a token to so many of the experts at most.
  void check(Index experts, Index most_choices) const {
    check();
    require(!renormalize_kept || allow_constant_weights || experts == 1 || most_choices != 1,
            "DispatchOptions: with renormalize_kept and a gate that sends each token to one expert the weight is "
            "always 1 and the router learns nothing from the output; set renormalize_kept = false, or "
            "allow_constant_weights = true if that is meant");
  }
};

namespace detail {

/// Applies the policy to logits fresh from the router. The batch knows what the tokens are called.
template <class S>
void handle_non_finite(NonFinite policy, Routing<S>& routing, const Batch<S>* batch = nullptr) {
  if (policy == NonFinite::propagate) return;
  for (Index t = 0; t < routing.tokens(); ++t) {
    if (!routing.is_valid(t)) continue;
    bool finite = true, masked = true;
    for (Index e = 0; e < routing.experts(); ++e) {
      const S logit = routing.logits_TE(t, e);
      finite = finite && has_finite_bits(logit);
      masked = masked && !has_finite_bits(logit) && !has_nan_bits(logit) && std::signbit(logit);
    }
    if (finite) continue;
    require(policy != NonFinite::refuse, "Layer: the logits of token ", batch != nullptr ? batch->number_of(t) : t,
            masked ? " are all -infinity: every expert is masked" : " are not finite");
    routing.valid_T[static_cast<std::size_t>(t)] = 0;
    --routing.valid_tokens;
  }
}

}  // namespace detail

MOE_NAMESPACE_END
