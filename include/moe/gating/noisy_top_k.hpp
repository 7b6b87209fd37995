// Noisy top-k gating: learned noise in front of a gate.
#pragma once

#include <cmath>
#include <utility>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The gate is run on H = logits + normal * stddev with stddev = softplus(x noise_weight') + epsilon (Shazeer et al.
/// 2017, eq. 3 to 5). Without a generator there is no noise, and the gate is run on the logits. Draws: token by token,
/// E normal numbers each.
template <class S, class G = TopK>
struct LearnedNoise {
  static_assert(detail::ComputesIn<S>::is_known);
  G gate;
  Matrix<S> noise_weight_ED;
  double epsilon = 1e-2;  ///< Not in the paper. With it the noise never becomes 0 (tensor2tensor, FastMoE).

  /// Noise weights of 0, the paper's start.
  static LearnedNoise zeros(Index experts, Index width, G gate) {
    require(experts > 0 && width > 0, "LearnedNoise: ", experts, " experts and tokens of width ", width,
            ", both must be 1 or more");
    return {std::move(gate), Matrix<S>::Zero(experts, width)};
  }

  void check(Index experts) const {
    detail::require_noise_has_an_effect("LearnedNoise", gate, true);
    if constexpr (requires { gate.check(experts); }) gate.check(experts);
    require(noise_weight_ED.rows() == experts, "LearnedNoise: the noise weight has ", noise_weight_ED.rows(),
            " rows for ", experts, " experts");
    require(detail::has_finite_bits(epsilon) && epsilon >= 0, "LearnedNoise: epsilon is ", epsilon,
            ", it must be finite and 0 or more");
  }

  bool accepts_noise(bool) const { return false; }

  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    require(noise_weight_ED.cols() == batch.x_TD.cols(), "LearnedNoise: the noise weight is for tokens of width ",
            noise_weight_ED.cols(), ", these have ", batch.x_TD.cols());
    if (random != nullptr) {
      Noise<S>& noise = routing.noise;
      noise.drawn = true;
      noise.stddev_TE.resize(routing.tokens(), routing.experts());
      noise.normal_TE.setZero(routing.tokens(), routing.experts());
      detail::linear_forward<S>(batch.x_TD, noise_weight_ED, Vector<S>(), noise.stddev_TE, Serial{});
      noise.stddev_TE =
          noise.stddev_TE.unaryExpr([this](S v) { return detail::softplus(v) + static_cast<S>(epsilon); });
      for (Index t = 0; t < routing.tokens(); ++t)
        if (routing.is_valid(t))
          for (Index e = 0; e < routing.experts(); ++e) noise.normal_TE(t, e) = static_cast<S>(random->normal());
      noise.logits_TE = routing.logits_TE + noise.normal_TE.cwiseProduct(noise.stddev_TE);
    }
    gate.route(batch, routing, random);
  }

  void backward(const Batch<S>& batch, const Routing<S>& routing, Routing<S>& drouting, MatrixRef<S> dx_TD,
                LearnedNoise& gradient) const requires ParameterFreeGate<G, S> {
    routing.check(batch);
    routing.check_gradient(drouting);
    require_shape("LearnedNoise: dx", dx_TD, batch.tokens(), noise_weight_ED.cols());
    if (routing.noise.drawn)
      require_shape("LearnedNoise: the draws", routing.noise.normal_TE, routing.tokens(), routing.experts());
    require(gradient.noise_weight_ED.rows() == noise_weight_ED.rows() &&
                gradient.noise_weight_ED.cols() == noise_weight_ED.cols(),
            "LearnedNoise: the gradient's noise weight is ", gradient.noise_weight_ED.rows(), " x ",
            gradient.noise_weight_ED.cols());
    gate.backward(routing, drouting);
    if (!routing.noise.drawn) return;
    const Noise<S>& noise = routing.noise;
    drouting.logits_TE += drouting.noise.logits_TE;
    // softplus' = sigmoid = 1 - exp(-softplus), and softplus = stddev - epsilon.
    Matrix<S>& dpre_TE = drouting.noise.stddev_TE;
    for (Index t = 0; t < routing.tokens(); ++t)
      for (Index e = 0; e < routing.experts(); ++e) {
        const S slope = -std::expm1(static_cast<S>(epsilon) - noise.stddev_TE(t, e));
        const S dstddev = dpre_TE(t, e) + drouting.noise.logits_TE(t, e) * noise.normal_TE(t, e);
        dpre_TE(t, e) = routing.is_valid(t) ? dstddev * slope : S(0);
      }
    Vector<S> no_bias;
    detail::linear_weight_gradient_of_marked<S>(dpre_TE, batch.x_TD, routing.valid_T, routing.valid_tokens,
                                                drouting.workspace.rows_TE, drouting.workspace.rows_TD,
                                                gradient.noise_weight_ED, no_bias, Serial{});
    detail::linear_input_gradient<S>(dpre_TE, noise_weight_ED, dx_TD, true, Serial{});
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("noise_weight", self.noise_weight_ED...);
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("gate", f, self.gate...);
  }
};

/// The gate of Shazeer et al. 2017: NoisyTopK<float>::zeros(E, D, {.k = 2}).
template <class S>
using NoisyTopK = LearnedNoise<S, TopK>;

MOE_NAMESPACE_END
