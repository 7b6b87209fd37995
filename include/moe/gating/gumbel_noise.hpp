// Sampling the choices by Gumbel noise, which decides the choices but is in no weight.
#pragma once

#include <cmath>
#include <limits>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The gate selects by logits + temperature g, g standard Gumbel, so that a token's first choice is e with probability
/// softmax(logits / temperature)_e. The weights come from the logits without noise. Without a generator there is no
/// noise. Draws: token by token, E numbers -log(-log(uniform)) each.
template <class G>
struct GumbelNoise {
  G gate;
  bool first_is_best = false;  ///< true: the first choice is the best without noise, and only the later ones are
                               ///< sampled (DeepSpeed's top-2). false: DeepSpeed's top-1 with noise policy "RSample".
  double temperature = 1;      ///< Mesh TensorFlow's moe_switch_temperature, with switch_top1() as gate.

  void check(Index experts) const {
    detail::require_temperature("GumbelNoise", temperature);
    detail::require_noise_has_an_effect("GumbelNoise", gate, false);
    if constexpr (requires { gate.check(experts); }) gate.check(experts);
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    if (random != nullptr) {
      Noise<S>& noise = routing.noise;
      noise.drawn = true;
      noise.weighs = false;
      noise.distribution = Distribution::gumbel;
      noise.normal_TE.setZero(routing.tokens(), routing.experts());
      noise.stddev_TE.setConstant(routing.tokens(), routing.experts(), static_cast<S>(temperature));
      noise.logits_TE = routing.logits_TE;
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (!routing.is_valid(t)) continue;
        for (Index e = 0; e < routing.experts(); ++e) {
          noise.normal_TE(t, e) = static_cast<S>(random->gumbel());
          noise.logits_TE(t, e) += noise.stddev_TE(t, e) * noise.normal_TE(t, e);
        }
        if (!first_is_best) continue;
        Index best = 0;
        detail::top_k(routing.logits_TE.row(t).data(), routing.experts(), Index{1}, &best);
        noise.logits_TE(t, best) = std::numeric_limits<S>::infinity();
      }
    }
    gate.route(batch, routing, random);
    if (random != nullptr && first_is_best)
      routing.selects_largest_logits = false;  // no noise decides the first choice
  }

  bool accepts_noise(bool) const { return false; }

  template <class S>
  requires ParameterFreeGate<G, S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    gate.backward(routing, drouting);
    if (routing.noise.drawn) drouting.logits_TE += drouting.noise.logits_TE;  // from losses on who is chosen
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("gate", f, self.gate...);
  }
};

template <class G>
GumbelNoise(G) -> GumbelNoise<G>;
template <class G>
GumbelNoise(G, bool) -> GumbelNoise<G>;
template <class G>
GumbelNoise(G, bool, double) -> GumbelNoise<G>;

MOE_NAMESPACE_END
