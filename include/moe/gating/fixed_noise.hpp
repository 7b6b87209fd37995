// Noise of a fixed strength in front of a gate.
#pragma once

#include <cmath>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The gate is run on logits + normal * stddev / E (V-MoE, Riquelme et al. 2021, section 2, with the gate
/// TopK{.k, .weights = ChoiceWeights::probabilities()}; Tutel). Without a generator there is no noise. Draws: token by
/// token, E normal numbers each. The gate must select by `routing.selection_logits_TE()`, as the gates of this folder
/// do, and have no parameters of its own.
template <class G>
struct FixedNoise {
  G gate;
  double stddev = 1;  ///< The standard deviation of the noise, times E, as V-MoE states it.

  void check(Index experts) const {
    require(detail::has_finite_bits(stddev) && stddev > 0, "FixedNoise: stddev is ", stddev,
            ", it must be finite and more than 0");
    detail::require_noise_has_an_effect("FixedNoise", gate, true);
    if constexpr (requires { gate.check(experts); }) gate.check(experts);
  }

  bool accepts_noise(bool) const { return false; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    if (random != nullptr) {
      Noise<S>& noise = routing.noise;
      const Index tokens = routing.tokens(), experts = routing.experts();
      noise.drawn = true;
      noise.stddev_TE.setConstant(tokens, experts, static_cast<S>(stddev / static_cast<double>(experts)));
      noise.normal_TE.setZero(tokens, experts);
      for (Index t = 0; t < tokens; ++t)
        if (routing.is_valid(t))
          for (Index e = 0; e < experts; ++e) noise.normal_TE(t, e) = static_cast<S>(random->normal());
      noise.logits_TE = routing.logits_TE + noise.normal_TE.cwiseProduct(noise.stddev_TE);
    }
    gate.route(batch, routing, random);
  }

  template <class S>
  requires ParameterFreeGate<G, S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    gate.backward(routing, drouting);
    if (routing.noise.drawn) drouting.logits_TE += drouting.noise.logits_TE;
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("gate", f, self.gate...);
  }
};

template <class G>
FixedNoise(G, double) -> FixedNoise<G>;

MOE_NAMESPACE_END
