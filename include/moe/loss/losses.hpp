// Several auxiliary losses as one.
#pragma once

#include <array>
#include <cstddef>
#include <ostream>
#include <string_view>
#include <tuple>
#include <utility>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// One loss of one call, by name; what is trained on is coefficient * value.
struct LossValue {
  std::string_view name;
  double coefficient;
  double value;  ///< Without the coefficient.
};

inline std::ostream& operator<<(std::ostream& out, const LossValue& loss) {
  return out << detail::joined_to(out.precision(), loss.name, " ", loss.value, " (x ", loss.coefficient, ")");
}

namespace detail {

/// Throws std::invalid_argument if the coefficient or the epsilon is not finite, or the epsilon negative.
inline void check_loss(std::string_view name, double coefficient, double epsilon) {
  require(has_finite_bits(coefficient), "the loss ", name, " has coefficient ", coefficient, ", it must be finite");
  require(has_finite_bits(epsilon) && epsilon >= 0, "the loss ", name, " has epsilon ", epsilon,
          ", it must be finite and 0 or more");
}

}  // namespace detail

/// Computed from one layer's routing of one call; adding up over layers or micro-batches is the caller's.
template <class... L>
struct Losses {
  std::tuple<L...> all;

  Losses(L... losses) : all(std::move(losses)...) {}

  /// Throws std::invalid_argument if a coefficient or an epsilon is not finite, or an epsilon negative.
  void check() const {
    std::apply([](const L&... loss) { (check(loss), ...); }, all);
  }

  /// The same, and that the losses suit a layer of so many experts and this gate: a loss may say so by
  /// `check(experts) const` or `check(experts, gate) const`. One whose coefficient is 0 is left out.
  template <class G>
  void check(Index experts, const G& gate) const {
    check();
    std::apply([&](const L&... loss) { (check_fit(loss, experts, gate), ...); }, all);
  }

  /// Each loss by name, in order.
  template <class S>
  std::array<LossValue, sizeof...(L)> report(const Routing<S>& routing) const {
    check();
    return std::apply(
        [&](const L&... loss) {
          return std::array<LossValue, sizeof...(L)>{LossValue{loss.name(), static_cast<double>(loss.coefficient),
                                                               static_cast<double>(loss.value(routing))}...};
        },
        all);
  }

  /// The sum of coefficient * value; a loss whose coefficient is 0 is not computed.
  template <class S>
  S value(const Routing<S>& routing) const {
    check();
    return std::apply(
        [&](const L&... loss) {
          return (S(0) + ... + (loss.coefficient != 0 ? static_cast<S>(loss.coefficient) * loss.value(routing) : S(0)));
        },
        all);
  }

  /// drouting += scale * d(value).
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    check();
    std::apply([&](const L&... loss) { (add_gradient(loss, routing, scale, drouting), ...); }, all);
  }

 private:
  template <class One, class S>
  static void add_gradient(const One& loss, const Routing<S>& routing, S scale, Routing<S>& drouting) {
    if (loss.coefficient != 0) loss.backward(routing, scale * static_cast<S>(loss.coefficient), drouting);
  }

  template <class One, class G>
  static void check_fit(const One& loss, Index experts, const G& gate) {
    if (loss.coefficient == 0) return;
    if constexpr (requires { loss.check(experts, gate); })
      loss.check(experts, gate);
    else if constexpr (requires { loss.check(experts); })
      loss.check(experts);
    else
      static_assert(
          !requires { &One::check; },
          "moe: check of a loss must be check(experts) const or check(experts, gate) const; see AuxiliaryLoss "
          "in moe/concepts.hpp");
  }

  template <class One>
  static void check(const One& loss) {
    double epsilon = 0;
    if constexpr (requires { static_cast<double>(loss.epsilon); }) epsilon = static_cast<double>(loss.epsilon);
    detail::check_loss(loss.name(), static_cast<double>(loss.coefficient), epsilon);
  }
};

template <class... L>
Losses(L...) -> Losses<L...>;

namespace detail {

/// Whether L is Losses, all of them losses on a Routing<S>.
template <class L, class S>
inline constexpr bool are_losses = false;
template <class... L, class S>
inline constexpr bool are_losses<Losses<L...>, S> = (AuxiliaryLoss<L, S> && ...);

}  // namespace detail

MOE_NAMESPACE_END
