// A supervised gate: labels say which expert, or which group of experts, a token belongs to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Cross-entropy: mean over the labelled tokens of -log(sum of p_e over the experts of the token's label), with p =
/// softmax(logits) over all experts, without noise, whatever the gate chooses. It reaches experts that were not chosen,
/// as the task's gradient through a sparse gate does not. Without padding; 0 if no token has a label.
struct GateLabelLoss {
  double coefficient = 1;
  std::vector<Index> label_of_token = {};   ///< T, of the present batch; -1: none. Empty: nobody has one.
  std::vector<Index> label_of_expert = {};  ///< E; empty: expert e has label e.

  static constexpr std::string_view name() { return "gate_label"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    detail::Wide<S> sum = 0;
    Vector<S> p_E;
    p_E.resize(routing.experts());
    const Index labelled = for_each_labelled(routing, [&](Index t, const Sum<S>& own) {
      const Sum<S> all = detail::softmax_row(detail::row_at(routing.logits_TE, t), routing.experts(), p_E.data());
      sum += all.shift - own.shift + std::log(all.sum / own.sum);
    });
    return static_cast<S>(sum / static_cast<detail::Wide<S>>((std::max)(labelled, Index{1})));
  }

  /// d logits = p - softmax over the label's experts alone, which holds where their probabilities are too small to tell
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    Vector<S>& p_E = drouting.workspace.expert_E;
    p_E.resize(routing.experts());
    const Index labelled = for_each_labelled(routing, [](Index, const Sum<S>&) {});
    for_each_labelled(routing, [&](Index t, const Sum<S>& own) {
      const S* logits_E = detail::row_at(routing.logits_TE, t);
      detail::softmax_row(logits_E, routing.experts(), p_E.data());
      S* dlogits_E = detail::row_at(drouting.logits_TE, t);
      for (Index e = 0; e < routing.experts(); ++e) {
        const S wanted = has_label_of(t, e) ? std::exp(logits_E[e] - own.shift) / own.sum : S(0);
        dlogits_E[e] += scale / static_cast<S>(labelled) * (p_E.data()[e] - wanted);
      }
    });
  }

 private:
  template <class S>
  using Sum = detail::SumOfExponentials<S>;

  bool has_label_of(Index token, Index expert) const {
    const Index label = label_of_token[static_cast<std::size_t>(token)];
    return label == (label_of_expert.empty() ? expert : label_of_expert[static_cast<std::size_t>(expert)]);
  }

  /// The sum over the experts of the token's label.
  /// Throws std::invalid_argument if there is none.
  template <class S>
  Sum<S> own_sum(const Routing<S>& routing, Index t) const {
    Sum<S> own{0, 0};
    bool found = false;
    const S* logits_E = detail::row_at(routing.logits_TE, t);
    for (Index e = 0; e < routing.experts(); ++e)
      if (has_label_of(t, e) && (!found || logits_E[e] > own.shift)) own.shift = logits_E[e], found = true;
    require(found, "GateLabelLoss: token ", t, " has label ", label_of_token[static_cast<std::size_t>(t)],
            ", which is no expert's");
    for (Index e = 0; e < routing.experts(); ++e)
      if (has_label_of(t, e)) own.sum += std::exp(logits_E[e] - own.shift);
    return own;
  }

  /// Calls f(token, sum over the experts of its label); returns how many tokens have labels. A token whose label's
  /// experts are all masked, at -infinity, counts as one without a label. Throws std::invalid_argument if there are not
  /// as many labels as tokens and experts, or one is no expert's.
  template <class S, class F>
  Index for_each_labelled(const Routing<S>& routing, F&& f) const {
    const Index experts = routing.experts();
    if (label_of_token.empty()) return 0;
    require(static_cast<Index>(label_of_token.size()) == routing.tokens(), "GateLabelLoss: ", label_of_token.size(),
            " labels for ", routing.tokens(), " tokens");
    require(label_of_expert.empty() || static_cast<Index>(label_of_expert.size()) == experts,
            "GateLabelLoss: ", label_of_expert.size(), " labels for ", experts, " experts");
    Index labelled = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t) || label_of_token[static_cast<std::size_t>(t)] == -1) continue;
      const Sum<S> own = own_sum(routing, t);
      if (!detail::has_finite_bits(own.shift) && own.shift < 0) continue;
      ++labelled;
      f(t, own);
    }
    return labelled;
  }
};

MOE_NAMESPACE_END
