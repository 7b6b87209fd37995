// The load loss: experts should get equal numbers of tokens, by a smooth estimate that noise makes differentiable.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/loss/noise_tail.hpp"
#include "moe/loss/variation.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// CV^2 of load_e = sum over tokens of P(token, e), the probability that e would be among the k chosen if its own noise
/// were drawn again: P = Phi((logit_e - threshold_e) / stddev_e), Phi the standard normal distribution function
/// (Shazeer et al. 2017, appendix A, eq. 8 to 10). The gradient goes through the logit, the threshold (another expert's
/// noisy logit) and stddev. With Gumbel noise P is 1 - exp(-exp(u)) of the same quotient u. Without noise, with k = E,
/// or with a gate that does not choose the k largest noisy logits (one with a selection bias, groups, a transport
/// plan), load counts the choices and has no gradient. Needs a gate that chooses k experts for each token; 0 for an
/// empty batch.
struct LoadLoss {
  enum class Threshold {
    excluding_itself,     ///< the k-th largest noisy logit of the other experts (the paper, tensor2tensor, FastMoE)
    kth_largest,          ///< the k-th largest noisy logit of all (V-MoE)
    among_probabilities,  ///< as excluding_itself, but among the softmax of the noisy logits, and compared with logits
                          ///< all the same (davidmrau's code of 2023; a mix of units, here to reproduce it)
    of_probabilities,     ///< as kth_largest, but what is compared with it is no logit: softmax of the logits without
                          ///< noise (Tutel; another mix of units)
  };

  double coefficient = 1e-2;
  Threshold threshold = Threshold::excluding_itself;
  Variance variance = Variance::population;
  double epsilon = 1e-10;  ///< Added to mean^2; V-MoE has none.

  static constexpr std::string_view name() { return "load"; }

  /// Throws std::invalid_argument if the gate chooses more experts for some tokens than for others.
  template <class G>
  void check(Index, const G& gate) const {
    require(!detail::choices_differ(gate), not_fixed);
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    return static_cast<S>(detail::squared_variation(wide_load_of_experts(routing), variance, epsilon));
  }

  /// The estimate itself (E).
  template <class S>
  Vector<S> load_of_experts(const Routing<S>& routing) const {
    return wide_load_of_experts(routing).template cast<S>();
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    if (!is_smooth(routing)) return;
    auto& workspace = drouting.workspace;
    Vector<S>& dload_E = workspace.expert2_E;
    Buffer<Matrix<S>>& rows = workspace.rows_TE;
    sum_load(routing, workspace.indices, rows, workspace.sums_E);
    detail::squared_variation_gradient(workspace.sums_E, variance, epsilon, dload_E);
    Matrix<S>& dthreshold_TE =
        threshold == Threshold::among_probabilities ? drouting.probabilities_TE : drouting.noise.logits_TE;
    for_each_margin(routing, workspace.indices, rows, [&](const Margin<S>& m) {
      // Without noise there is no slope. u = margin / stddev: dP = density(u) (dmargin - u dstddev) / stddev
      const S u = m.stddev > 0 ? m.margin / m.stddev : S(0);
      const S density = detail::noise_density(routing.noise.distribution, u);
      const S dmargin = m.stddev > 0 ? scale * dload_E.data()[m.expert] * density / m.stddev : S(0);
      S* dlogits_E = detail::row_at(drouting.logits_TE, m.token);
      S* dp_E = detail::row_at(rows, 1);
      if (threshold == Threshold::of_probabilities)
        dp_E[m.expert] = dmargin;
      else
        dlogits_E[m.expert] += dmargin;
      detail::row_at(dthreshold_TE, m.token)[m.rival] -= dmargin;
      // u of a masked expert is infinite
      if (dmargin != S(0)) detail::row_at(drouting.noise.stddev_TE, m.token)[m.expert] -= dmargin * u;
      if (threshold == Threshold::of_probabilities && m.expert + 1 == routing.experts())
        detail::softmax_row_backward(rows.data(), dp_E, routing.experts(), dlogits_E);
    });
  }

 private:
  static constexpr std::string_view not_fixed =
      "LoadLoss: the gate does not choose a fixed number k of experts for each token, or does not say so in "
      "routing.choices_per_token";

  /// By how much a token's logit exceeds the threshold, which is the noisy logit of `rival`.
  template <class S>
  struct Margin {
    Index token, expert, rival;
    S margin, stddev;
  };

  /// Throws std::invalid_argument unless the gate chose a fixed number of experts.
  template <class S>
  static bool is_smooth(const Routing<S>& routing) {
    require(routing.choices_per_token > 0 || routing.tokens() == 0, not_fixed);
    return routing.noise.drawn && routing.selects_largest_logits && routing.choices_per_token < routing.experts();
  }

  template <class S>
  Vector<detail::Wide<S>> wide_load_of_experts(const Routing<S>& routing) const {
    routing.check();
    Vector<detail::Wide<S>> load_E;
    std::vector<Index> best;
    Buffer<Matrix<S>> rows;
    sum_load(routing, best, rows, load_E);
    return load_E;
  }

  template <class S>
  void sum_load(const Routing<S>& routing, std::vector<Index>& best, Buffer<Matrix<S>>& rows,
                Vector<detail::Wide<S>>& load_E) const {
    load_E.setZero(routing.experts());
    if (!is_smooth(routing)) {
      for (const Choice<S>& c : routing.choices) load_E.data()[c.expert] += 1;
      return;
    }
    for_each_margin(routing, best, rows, [&](const Margin<S>& m) {
      load_E.data()[m.expert] +=
          m.stddev > 0 ? detail::noise_tail(routing.noise.distribution, m.margin / m.stddev) : S(m.margin > 0);
    });
  }

  /// Calls f(margin) for each token and expert; the first of two `rows` then holds the token's probabilities without
  /// noise, if they are what is compared.
  template <class S, class F>
  void for_each_margin(const Routing<S>& routing, std::vector<Index>& best, Buffer<Matrix<S>>& rows, F&& f) const {
    const Index k = routing.choices_per_token, experts = routing.experts();
    require_shape("LoadLoss: the noise's standard deviation", routing.noise.stddev_TE, routing.tokens(), experts);
    const Matrix<S>& noisy_TE = routing.noise.logits_TE;
    const Matrix<S>& among_TE = threshold == Threshold::among_probabilities ? routing.probabilities_TE : noisy_TE;
    best.resize(static_cast<std::size_t>(k + 1));
    rows.resize(2, experts);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      const S *compared_E = detail::row_at(routing.logits_TE, t), *noisy_E = detail::row_at(noisy_TE, t);
      const S *among_E = detail::row_at(among_TE, t), *stddev_E = detail::row_at(routing.noise.stddev_TE, t);
      detail::top_k(noisy_E, experts, k + 1, best.data());
      if (threshold == Threshold::of_probabilities) {
        detail::softmax_row(compared_E, experts, rows.data());
        compared_E = rows.data();
      }
      const Index kth = best[static_cast<std::size_t>(k - 1)], next = best[static_cast<std::size_t>(k)];
      for (Index e = 0; e < experts; ++e) {
        const Index rival = excludes_itself() && is_chosen(noisy_E[e], e, among_E[next], best) ? next : kth;
        f(Margin<S>{t, e, rival, compared_E[e] - among_E[rival], stddev_E[e]});
      }
    }
  }

  bool excludes_itself() const {
    return threshold == Threshold::excluding_itself || threshold == Threshold::among_probabilities;
  }

  /// Among the k best, also where the next one is its equal.
  template <class S>
  static bool is_chosen(S noisy, Index expert, S next, const std::vector<Index>& best) {
    return noisy > next || (noisy == next && std::find(best.begin(), best.end() - 1, expert) != best.end() - 1);
  }
};

MOE_NAMESPACE_END
