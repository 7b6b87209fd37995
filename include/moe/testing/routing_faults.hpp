// What the losses, the gate and the router of a layer share in a backward pass: the gradient of the routing and dx, to
// which each must add. One that writes over them goes unnoticed where it is the first to write; here they are not zero.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/run_routing.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"
#include "moe/testing/gradient_report.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

/// The fields of a routing's gradient, one after the other.
enum class RoutingField { logits, probabilities, weights, noisy_logits, noise_stddev };

inline std::string_view name_of(RoutingField field) {
  static constexpr std::string_view names[] = {"logits_TE", "probabilities_TE", "choices' weights", "noise.logits_TE",
                                               "noise.stddev_TE"};
  return names[static_cast<std::size_t>(field)];
}

template <class S>
std::vector<RoutingField> fields_of(const Routing<S>& routing) {
  std::vector<RoutingField> fields{RoutingField::logits, RoutingField::probabilities, RoutingField::weights};
  if (routing.noise.drawn) fields.insert(fields.end(), {RoutingField::noisy_logits, RoutingField::noise_stddev});
  return fields;
}

/// Calls f(number, token) for each number of the field.
template <class S, class F>
void for_each_number(Routing<S>& routing, RoutingField field, F&& f) {
  if (field == RoutingField::weights) {
    for (auto& choice : routing.choices) f(choice.weight, choice.token);
    return;
  }
  Matrix<S>* const matrices[] = {&routing.logits_TE, &routing.probabilities_TE, nullptr, &routing.noise.logits_TE,
                                 &routing.noise.stddev_TE};
  Matrix<S>& matrix = *matrices[static_cast<std::size_t>(field)];
  for (Index i = 0; i < matrix.size(); ++i) f(matrix.data()[i], i / matrix.cols());
}

/// Those of the gradient's field that are of tokens, not of padding.
template <class S>
std::vector<S> numbers_of(const Routing<S>& routing, Routing<S> gradient, RoutingField field) {
  std::vector<S> numbers;
  for_each_number(gradient, field, [&](S number, Index token) {
    if (routing.is_valid(token)) numbers.push_back(number);
  });
  return numbers;
}

/// Says so if a backward pass into `from_0` and `from_1`, which differed by 1 before, has written over some of it: they
/// do not differ by 1 any more, or, where it may also multiply what was there (`scales`), not at all.
template <class S>
void name_overwritten(std::string_view who, std::string_view what, const std::vector<S>& from_0,
                      const std::vector<S>& from_1, GradientReport& report, bool scales = false) {
  std::size_t overwritten = 0;
  for (std::size_t i = 0; i < from_0.size(); ++i) {
    const S difference = from_1[i] - from_0[i], added = std::abs(difference - 1) / (1 + std::abs(from_0[i]));
    overwritten += (scales ? difference == 0 : added > 1e-6) ? 1 : 0;  // NaN: not known
  }
  if (overwritten > 0)
    report.add_fault(std::string(who) + ": backward writes over " + std::to_string(overwritten) + " entries of " +
                     std::string(what) + ", to which it must add (+=, not =)");
}

/// A gradient of the routing with other numbers at all places except `field`, which is `value`.
template <class S>
Routing<S> some_gradient(const Routing<S>& routing, RoutingField field, S value) {
  Routing<S> gradient;
  gradient.reset_gradient(routing);
  int i = 0;
  for (const RoutingField other : fields_of(routing))
    for_each_number(gradient, other, [&](S& number, Index) { number = std::cos(S(++i)); });
  for_each_number(gradient, field, [&](S& number, Index) { number = value; });
  return gradient;
}

/// `backward(drouting)` must add to the field, whatever the other ones hold.
template <class S, class Backward>
void name_overwritten_field(std::string_view who, const Routing<S>& routing, RoutingField field, Backward&& backward,
                            GradientReport& report, bool scales = false) {
  Routing<S> from_0 = some_gradient(routing, field, S(0)), from_1 = some_gradient(routing, field, S(1));
  backward(from_0);
  backward(from_1);
  name_overwritten<S>(who, "drouting's " + std::string(name_of(field)), numbers_of(routing, from_0, field),
                      numbers_of(routing, from_1, field), report, scales);
}

/// Of the pass that `tape` recorded, a layer's or that of what is around a layer.
template <class SomeLayer, class S, class Tape>
void name_routing_faults(const SomeLayer& layer, const Batch<S>& batch, Tape& tape, GradientReport& report) {
  if constexpr (requires {
                  layer.router;
                  layer.gate;
                  layer.losses.all;
                }) {
    const Routing<S>& routing = tape.routing;
    SomeLayer gradient = zeros_like(layer);
    [[maybe_unused]] const auto of_loss = [&](const auto& loss) {
      if (loss.coefficient == 0) return;
      for (const RoutingField field : fields_of(routing))
        name_overwritten_field(
            loss.name(), routing, field, [&](Routing<S>& drouting) { loss.backward(routing, S(1), drouting); }, report);
    };
    std::apply([&](const auto&... loss) { (of_loss(loss), ...); }, layer.losses.all);
    Matrix<S> dx[2];
    const auto run = [&](auto&& backward) {
      for (const int start : {0, 1}) {
        dx[start].setConstant(batch.x_TD.rows(), batch.x_TD.cols(), S(start));
        tape.drouting = some_gradient(routing, RoutingField::logits, S(1));
        backward(dx[start]);
      }
    };
    const auto numbers = [](const Matrix<S>& m) { return std::vector<S>(m.data(), m.data() + m.size()); };
    const auto gate_backward = [&](MatrixRef<S> dx_TD) {
      detail::gate_backward<S>(layer.gate, batch, tape, dx_TD, gradient.gate);
    };
    for (const RoutingField field : {RoutingField::logits, RoutingField::noisy_logits, RoutingField::probabilities}) {
      if (field == RoutingField::noisy_logits && !routing.noise.drawn) continue;
      const auto into = [&](Routing<S>& drouting) {
        std::swap(tape.drouting, drouting);
        gate_backward(dx[0] = batch.x_TD);
        std::swap(tape.drouting, drouting);
      };
      name_overwritten_field("the gate", routing, field, into, report, field == RoutingField::probabilities);
    }
    run(gate_backward);
    name_overwritten("the gate", "dx", numbers(dx[0]), numbers(dx[1]), report);
    run([&](MatrixRef<S> dx_TD) {
      detail::router_backward<S>(layer.router, batch, tape, dx_TD, gradient.router, Serial{});
    });
    name_overwritten("the router", "dx", numbers(dx[0]), numbers(dx[1]), report);
  } else if constexpr (requires { layer.layer; }) {
    name_routing_faults(layer.layer, batch, tape, report);
  }
}

}  // namespace testing

MOE_NAMESPACE_END
