// A gate that is chosen when the program runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <variant>

#include "moe/concepts.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/core/variant.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// One of the gates Gs, made from any of them:
///   using AnyGate = moe::VariantGate<float, moe::TopK, moe::NoisyTopK<float>, moe::ExpertChoice>;
///   AnyGate gate = noisy ? AnyGate{moe::NoisyTopK<float>::zeros(E, D, {.k = 2})} : AnyGate{moe::switch_top1()};
/// Nothing is virtual. Parameters have the names that the held gate gives them. The number of the held gate in Gs is
/// saved with them, and a file of another one is refused: before loading, make a gate of the same type.
template <class S, class... Gs>
struct VariantGate {
  static_assert((Gate<Gs, S> && ...),
                "moe::VariantGate: one of its types is not a gate: it needs route(batch, routing, random) const; see "
                "moe/concepts.hpp");

  std::variant<Gs...> gate;

  VariantGate() = default;
  template <class G>
  requires(std::is_same_v<std::remove_cvref_t<G>, Gs> || ...) VariantGate(G&& one)
      : gate(std::forward<G>(one)) {}  // NOLINT(google-explicit-constructor)

  /// Calls f(the held gate, its number in Gs as an integral constant).
  template <class F>
  decltype(auto) visit(F&& f) const {
    return detail::visit_alternative(gate, std::forward<F>(f));
  }

  void check(Index experts) const {
    require(!gate.valueless_by_exception(), "VariantGate: it holds no gate");
    visit([&](const auto& own, auto) {
      if constexpr (requires { own.check(experts); }) own.check(experts);
    });
  }

  void check_gradient(const VariantGate& gradient) const {
    require_same_type(gradient);
    visit([&](const auto& own, auto i) {
      detail::check_gradient("VariantGate: the gradient", own, *std::get_if<i>(&gradient.gate));
    });
  }

  Index most_choices(Index experts) const {
    return visit([&](const auto& own, auto) { return detail::most_choices(own, experts); });
  }
  bool choices_differ() const {
    return visit([](const auto& own, auto) { return detail::choices_differ(own); });
  }
  bool accepts_noise(bool weighs) const {
    return visit([&](const auto& own, auto) { return detail::accepts_noise(own, weighs); });
  }

  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    routing.alternatives.push_back(gate.index());
    visit([&](const auto& own, auto) { own.route(batch, routing, random); });
  }

  /// For a gate around this one, such as noise.
  void backward(const Routing<S>& routing, Routing<S>& drouting) const requires(ParameterFreeGate<Gs, S>&&...) {
    routing.check_gradient(drouting);
    enter(routing, drouting);
    visit([&](const auto& own, auto) { own.backward(routing, drouting); });
    drouting.alternatives.pop_back();
  }

  void backward(const Batch<S>& batch, const Routing<S>& routing, Routing<S>& drouting, MatrixRef<S> dx_TD,
                VariantGate& gradient) const requires(TrainableGate<Gs, S>&&...) {
    require_same_type(gradient);
    routing.check_gradient(drouting);
    enter(routing, drouting);
    visit([&](const auto& own, [[maybe_unused]] auto i) {
      if constexpr (ParameterFreeGate<std::remove_cvref_t<decltype(own)>, S>)
        own.backward(routing, drouting);
      else
        own.backward(batch, routing, drouting, dx_TD, *std::get_if<i>(&gradient.gate));
    });
    drouting.alternatives.pop_back();
  }

  template <class F, class One, class... More>
  static void visit_parameters(F&& f, One& one, More&... more) {
    (one.require_same_type(more), ...);
    detail::visit_alternative(one.gate, [&](auto& own, [[maybe_unused]] auto i) {
      detail::visit_own_parameters(f, own, *std::get_if<i>(&more.gate)...);
    });
  }
  template <class F, class One, class... More>
  static void visit_buffers(F&& f, One& one, More&... more) {
    (one.require_same_type(more), ...);
    const auto alternative = static_cast<std::int64_t>(one.gate.index());
    visit_numbers("alternative", f, alternative, (static_cast<void>(more), alternative)...);
    detail::visit_alternative(
        one.gate, [&](auto& own, [[maybe_unused]] auto i) { for_each_buffer(f, own, *std::get_if<i>(&more.gate)...); });
  }

 private:
  /// Adds this gate to the gradient's list, which holds the VariantGates around this one.
  /// Throws std::invalid_argument unless the held gate is the one that routed.
  void enter(const Routing<S>& routing, Routing<S>& drouting) const {
    const std::size_t depth = drouting.alternatives.size();
    require(depth < routing.alternatives.size(), "VariantGate: another gate made this routing");
    require(routing.alternatives[depth] == gate.index(), "VariantGate: type ", routing.alternatives[depth],
            " of the list made this routing, the gate is now of type ", gate.index());
    drouting.alternatives.push_back(gate.index());
  }

  void require_same_type(const VariantGate& other) const {
    require(gate.index() == other.gate.index(), "VariantGate: gate types ", gate.index(), " and ", other.gate.index(),
            " of the list do not match");
  }
};

MOE_NAMESPACE_END
