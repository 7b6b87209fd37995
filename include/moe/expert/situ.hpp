// The gated activation of Kimi K3: SiLU's factor x and the other projection are held within limits by tanh.
#pragma once

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/expert/activations.hpp"
#include "moe/expert/glu.hpp"

MOE_NAMESPACE_BEGIN

/// hidden = beta tanh(gate / beta) sigmoid(gate) * linear_beta tanh(up / linear_beta) (`activation_situ_beta` and
/// `activation_situ_linear_beta` of Kimi K3's configuration).
struct Situ {
  double beta = 4;
  double linear_beta = 25;  ///< 0: up as it is.

  void check() const {
    require(detail::has_finite_bits(beta) && beta > 0, "Situ: beta is ", beta, ", it must be finite and more than 0");
    require(detail::has_finite_bits(linear_beta) && linear_beta >= 0, "Situ: linear_beta is ", linear_beta,
            ", it must be finite and 0 (up as it is) or more");
  }

  template <class S>
  Chunk<S> value(const Chunk<S>& gate, const Chunk<S>& up) const {
    return bent<S>(gate, beta) * detail::sigmoid<S>(gate) * bent_up<S>(up);
  }

  // s(g) (1 - tanh^2(g / beta) + beta tanh(g / beta) (1 - s(g)))
  template <class S>
  Chunk<S> gate_derivative(const Chunk<S>& gate, const Chunk<S>& up) const {
    const Chunk<S> slope = Tanh::derivative<S>(gate / S(beta)), rest = detail::sigmoid<S>(-gate);
    return detail::sigmoid<S>(gate) * (slope + bent<S>(gate, beta) * rest) * bent_up<S>(up);
  }

  template <class S>
  Chunk<S> up_derivative(const Chunk<S>& gate, const Chunk<S>& up) const {
    const Chunk<S> outer = bent<S>(gate, beta) * detail::sigmoid<S>(gate);
    return linear_beta == 0 ? outer : outer * Tanh::derivative<S>(up / S(linear_beta));
  }

 private:
  template <class S>
  static Chunk<S> bent(const Chunk<S>& x, double limit) {
    return S(limit) * Tanh::value<S>(x / S(limit));
  }
  template <class S>
  Chunk<S> bent_up(const Chunk<S>& up) const {
    return linear_beta == 0 ? up : bent<S>(up, linear_beta);
  }
};

template <class S>
using SituGlu = Glu<S, Situ>;

MOE_NAMESPACE_END
