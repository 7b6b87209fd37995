// Activation functions, value and derivative side by side, on chunks of values. One of your own is a struct like these.
// With `slope_of_value`, the derivative at value(x) is the one at x: then experts keep the value alone.
#pragma once

#include <cmath>
#include <numbers>
#include <type_traits>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/elementwise.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class Activation, class S>
concept HasValue = requires(const Chunk<S> x) {
  Activation::template value<S>(x);
};

template <class Activation, class S>
concept HasDerivative = requires(const Chunk<S> x) {
  Activation::template derivative<S>(x);
};

}  // namespace detail

/// max(x, 0); the derivative at 0 is 0.
struct Relu {
  static constexpr bool slope_of_value = true;
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return where_less(x, S(0), S(0), x);  // NaN stays NaN
  }
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& x) {
    return where_less(S(0), x, S(1), S(0));
  }
};

/// max(x, 0)^2 (So et al. 2021, "Primer"); the derivative at 0 is 0.
struct SquaredRelu {
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return Relu::value<S>(x).square();
  }
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& x) {
    return S(2) * Relu::value<S>(x);
  }
};

/// x Phi(x), Phi the standard normal distribution function (Hendrycks and Gimpel 2016): the GELU by erf. In float by
/// packets, within 5e-7 (1 + x^2 / 2) of the value.
struct Gelu {
  // Phi(-a) exp(a^2 / 2) for a from 0 to 1000: a polynomial in u = (a - 3) / (a + 3), over a + 3, fitted at the zeros
  // of a Chebyshev polynomial. With these coefficients it is off by 4e-8 of the value, which is for float only.
  static Chunk<float> scaled_tail(const Chunk<float>& a) {
    static constexpr float coefficients[] = {-1.542909379e-5f, 3.530219982e-5f, 0.0001544794084f, -0.0002139047556f,
                                             -0.001045380628f, 0.001006919625f, 0.006972461452f,  -0.0104581947f,
                                             -0.04726300929f,  0.2300173265f,   -0.5093319821f,   0.7290836956f};
    const Chunk<float> scale = (a + 3.0f).inverse(), u = (a - 3.0f) * scale;
    Chunk<float> sum = coefficients[0];
    for (int i = 1; i < 12; ++i) sum = sum * u + coefficients[i];
    return sum * scale;
  }

  // Phi(x) for x from -1000 to 1000, by way of the left tail, which so keeps its relative precision: 1 + erf would lose
  // it.
  template <class S>
  static Chunk<S> distribution(const Chunk<S>& x) {
    if constexpr (std::is_same_v<S, float>) {
      const Chunk<S> a = x.abs(), decay = (x.square() * S(-0.5)).exp();
      // Beyond 13.2 vectorised exp stays at the smallest normal number, and the tail is less than that.
      const Chunk<S> tail = where_less(S(13.2), a, S(0), scaled_tail(a) * decay);
      return where_less(x, S(0), tail, S(1) - tail);
    } else {
      return x.unaryExpr([](S v) { return S(0.5) * std::erfc(-v * (std::numbers::sqrt2_v<S> / 2)); });
    }
  }
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return detail::bounded_below<S>(x) * distribution<S>(detail::bounded<S>(x));
  }
  // Phi(x) + x phi(x)
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& any) {
    const S scale = std::numbers::inv_sqrtpi_v<S> / std::numbers::sqrt2_v<S>;
    const Chunk<S> x = detail::bounded<S>(any), below = distribution<S>(x);
    return below + x * scale * (x.square() * S(-0.5)).exp();
  }
};

/// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): the approximation that many models were trained with.
struct GeluTanh {
  // (1 + tanh(u)) / 2 = sigmoid(2 u)
  template <class S>
  static Chunk<S> gate(const Chunk<S>& x) {
    const S scale = std::numbers::sqrt2_v<S> * std::numbers::inv_sqrtpi_v<S>;
    return detail::sigmoid<S>(S(2) * scale * (x + S(0.044715) * x.cube()));
  }
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return detail::bounded_below<S>(x) * gate<S>(detail::bounded<S>(x));
  }
  // with g = sigmoid(v): g + x g (1 - g) v'
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& any) {
    const S scale = std::numbers::sqrt2_v<S> * std::numbers::inv_sqrtpi_v<S>;
    const Chunk<S> x = detail::bounded<S>(any), g = gate<S>(x);
    return g + x * g * (S(1) - g) * (S(2) * scale * (S(1) + S(3 * 0.044715) * x.square()));
  }
};

/// x sigmoid(x), also called swish.
struct Silu {
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return detail::bounded_below<S>(x) * detail::sigmoid<S>(x);
  }
  // s + x s (1 - s)
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& any) {
    const Chunk<S> x = detail::bounded<S>(any), s = detail::sigmoid<S>(x);
    return s * (S(1) + x * (S(1) - s));
  }
};

/// 1 / (1 + exp(-x)).
struct Sigmoid {
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return detail::sigmoid<S>(x);
  }
  // s (1 - s), as the product of both sides' sigmoids: 1 - s would cancel in the right tail.
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& x) {
    return detail::sigmoid<S>(x) * detail::sigmoid<S>(-x);
  }
};

/// tanh(x); in float by packets, within 5e-7 of the value.
struct Tanh {
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return x.tanh();  // 2 s(2 x) - 1 would cancel near 0
  }
  // 1 - tanh^2 = 4 s(2 x) s(-2 x)
  template <class S>
  static Chunk<S> derivative(const Chunk<S>& x) {
    return S(4) * Sigmoid::derivative<S>(S(2) * x);
  }
};

/// x: no activation. A Glu of it is bilinear.
struct Identity {
  static constexpr bool slope_of_value = true;
  template <class S>
  static Chunk<S> value(const Chunk<S>& x) {
    return x;
  }
  template <class S>
  static Chunk<S> derivative(const Chunk<S>&) {
    return S(1);
  }
};

MOE_NAMESPACE_END
