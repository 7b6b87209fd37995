// SwiGLU with its factors held within limits, as gpt-oss and DeepSeek-V4 have it.
#pragma once

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/expert/activations.hpp"
#include "moe/expert/glu.hpp"

MOE_NAMESPACE_BEGIN

/// hidden = gate sigmoid(alpha gate) (up + offset), with the gate cut at limit from above alone and up cut at -limit
/// and limit. Without settings, SwiGLU. gpt-oss: `{.alpha = 1.702, .limit = 7, .offset = 1}`; DeepSeek-V4:
/// `{.limit = 10}`. What is cut passes no gradient; at the limit itself it does, as torch.clamp's.
struct ClampedSilu {
  double alpha = 1;
  double limit = 0;  ///< 0: none.
  double offset = 0;

  void check() const {
    require(detail::has_finite_bits(alpha) && alpha > 0, "ClampedSilu: alpha is ", alpha,
            ", it must be finite and more than 0");
    require(detail::has_finite_bits(limit) && limit >= 0, "ClampedSilu: limit is ", limit,
            ", it must be finite and 0 (none) or more");
    require(detail::has_finite_bits(offset), "ClampedSilu: offset is ", offset, ", it must be finite");
  }

  template <class S>
  Chunk<S> value(const Chunk<S>& gate, const Chunk<S>& up) const {
    return swish<S>(gate) * (cut<S>(up) + S(offset));
  }

  template <class S>
  Chunk<S> gate_derivative(const Chunk<S>& gate, const Chunk<S>& up) const {
    const Chunk<S> slope = Silu::derivative<S>(S(alpha) * gate) * (cut<S>(up) + S(offset));
    if (limit == 0) return slope;
    return where_less(S(limit), gate, S(0), slope);
  }

  template <class S>
  Chunk<S> up_derivative(const Chunk<S>& gate, const Chunk<S>& up) const {
    if (limit == 0) return swish<S>(gate);
    return where_less(S(limit), up.abs(), S(0), swish<S>(gate));
  }

 private:
  /// gate sigmoid(alpha gate) = silu(alpha gate) / alpha, of the cut gate.
  template <class S>
  Chunk<S> swish(const Chunk<S>& gate) const {
    return Silu::value<S>(S(alpha) * (limit == 0 ? gate : cut_above<S>(gate))) / S(alpha);
  }

  template <class S>
  Chunk<S> cut(const Chunk<S>& up) const {
    return limit == 0 ? up : -cut_above<S>(-cut_above<S>(up));
  }

  /// NaN stays NaN.
  template <class S>
  Chunk<S> cut_above(const Chunk<S>& x) const {
    const Chunk<S> highest = S(limit);
    return where_less(highest, x, highest, x);
  }
};

template <class S>
using ClampedSwiGlu = Glu<S, ClampedSilu>;

MOE_NAMESPACE_END
