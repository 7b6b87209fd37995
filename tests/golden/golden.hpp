// From a fixture to a layer, and from a layer's passes to what a fixture holds of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "moe/core/weights.hpp"
#include "moe/expert/linear.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/loss/losses.hpp"
#include "moe/router/router.hpp"

namespace golden {

using moe::Batch;
using moe::ChoiceWeights;
using moe::Layer;
using moe::Losses;
using moe::Plan;
using moe::Random;
using moe::Routing;
using moe::TopK;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

template <class S>
moe::Router<S> router_of(Fixture& fixture) {
  moe::Router<S> router{fixture.matrix<S>("router.weight")};
  if (fixture.contains("router.bias")) router.bias_E = fixture.matrix<S>("router.bias");
  return router;
}

/// Mlp or Glu experts; biases only where the file has them.
template <class X>
std::vector<X> experts_of(Fixture& fixture) {
  std::vector<X> experts(at(fixture.size("E")));
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const auto set = [&](const char* name, auto& parameter) {
      using S = typename std::remove_reference_t<decltype(parameter)>::Scalar;
      if (fixture.contains(name)) parameter = fixture.matrix<S>(name, {e});
    };
    set("experts.w1", experts[e].w1_FD), set("experts.b1", experts[e].b1_F);
    set("experts.w2", experts[e].w2_DF), set("experts.b2", experts[e].b2_D);
    if constexpr (requires { experts[e].w3_FD; })
      set("experts.w3", experts[e].w3_FD), set("experts.b3", experts[e].b3_F),
          set("experts.mult_bias", experts[e].multiplier_F);
  }
  return experts;
}

/// For files without experts: a layer of (E, E) identity router, so that tokens are logits and their gradients are the
/// logits' gradients, and of experts that are 0.
template <class G>
auto logits_layer(Index experts, G gate, moe::DispatchOptions dispatching = {}) {
  using Zero = moe::Linear<double>;
  return Layer{moe::Router<double>{Matrix<double>::Identity(experts, experts)}, std::move(gate),
               std::vector<Zero>(at(experts), Zero{Matrix<double>::Zero(1, experts)}), dispatching};
}

/// The name in the files of a layer's parameter: experts.w1 of experts.3.w1.
inline std::string name_of_parameter(std::string_view parameter) {
  std::string name(parameter);
  if (name == "mix.weight") return "shared.gate.weight";
  if (name.starts_with("expert.")) return "shared." + name.substr(7);
  if (name.starts_with("layer.")) name = name.substr(6);
  if (name == "gate.noise_weight") return "router.noise_weight";
  if (name.starts_with("experts.")) {
    const auto part = name.substr(name.find('.', 8) + 1);
    name = "experts." + (part == "weight" ? "w" : part == "bias" ? "b" : part == "multiplier" ? "mult_bias" : part);
  }
  return name;
}

template <class S>
std::vector<double> flat(const moe::Weights<S>& weights) {
  return flat(weights.matrix());
}

/// The parameters of a layer or of a gradient, those of experts one expert after the other.
template <class L>
void add_parameters(const L& layer, const std::string& prefix, Values& values) {
  moe::for_each_parameter(
      [&](std::string_view name, const auto& parameter) {
        auto& all = values[prefix + name_of_parameter(name)];
        const auto one = flat(parameter);
        all.insert(all.end(), one.begin(), one.end());
      },
      layer);
}

/// The decision: (T, E) tensors, and choices by token and rank where each token has the same number of them.
template <class S>
Values values_of(const Routing<S>& routing) {
  Values values{{"logits", flat(routing.logits_TE)}, {"probs", flat(routing.probabilities_TE)}};
  if (routing.noise.drawn) {
    values["logits.noisy"] = flat(routing.noise.logits_TE);
    values["noise.stddev"] = flat(routing.noise.stddev_TE);
  }
  Matrix<double> index_TK(routing.tokens(), routing.choices_per_token), weight_TK = index_TK;
  Vector<double> importance_E = Vector<double>::Zero(routing.experts());
  for (const auto& c : routing.choices) {
    importance_E(c.expert) += static_cast<double>(c.weight);
    if (routing.choices_per_token == 0) continue;
    index_TK(c.token, c.rank) = static_cast<double>(c.expert);
    weight_TK(c.token, c.rank) = static_cast<double>(c.weight);
  }
  values["topk.index"] = flat(index_TK), values["topk.weight"] = flat(weight_TK);
  values["importance"] = flat(importance_E);
  return values;
}

/// The slots: who was kept, in which row of the expert's buffer (of all groups), and the final weights.
template <class S>
Values values_of(const Routing<S>& routing, const Plan<S>& plan) {
  const Index tokens = routing.tokens(), k = routing.choices_per_token;
  Matrix<double> combine_TE = Matrix<double>::Zero(tokens, routing.experts()), kept_TE = combine_TE;
  Matrix<double> kept_TK = Matrix<double>::Zero(tokens, k), slot_TK = Matrix<double>::Constant(tokens, k, -1);
  for (Index slot = 0; slot < plan.slots(); ++slot) {
    const auto& c = routing.choices[at(plan.choice[at(slot)])];
    combine_TE(c.token, c.expert) += static_cast<double>(plan.weight[at(slot)]);
    kept_TE(c.token, c.expert) = 1;
    if (k == 0) continue;
    kept_TK(c.token, c.rank) = 1;
    slot_TK(c.token, c.rank) = static_cast<double>(slot - plan.begin_of(c.expert));
  }
  std::vector<double> received;
  for (Index e = 0; e < plan.experts(); ++e) received.push_back(static_cast<double>(plan.rows_of(e)));
  return {{"combine", flat(combine_TE)}, {"kept_map", flat(kept_TE)},   {"kept", flat(kept_TK)},
          {"slot", flat(slot_TK)},       {"counts", flat(plan.chosen)}, {"counts.kept", received}};
}

/// All of a forward pass.
template <class L>
Values pass_values(const typename L::Tape& tape) {
  Values values = values_of(tape.routing);
  values.merge(values_of(tape.routing, tape.plan));
  values["capacity"] = {static_cast<double>(tape.plan.capacity_of_group[0])};
  return values;
}

/// A forward pass, and the gradients of sum(y * dy).
template <class L>
Values task_values(const L& layer, const Batch<typename L::Scalar>& batch, const Matrix<typename L::Scalar>& dy,
                   typename L::Tape& tape) {
  L gradient = moe::zeros_like(layer);
  const auto y = layer.forward(batch, tape);
  Values values = pass_values<L>(tape);
  values["y"] = flat(y);
  values["grad.x"] = flat(layer.backward(batch, dy, tape, gradient));
  add_parameters(gradient, "grad.", values);
  return values;
}

/// Losses of coefficient 1 alone: their value, and the gradients where dy is 0.
template <class L, class... Loss>
Values loss_values(const std::string& name, const L& without, const Batch<typename L::Scalar>& batch,
                   typename L::Tape tape, const Losses<Loss...>& losses) {
  using S = typename L::Scalar;
  const Layer layer{without.router, without.gate, without.experts, losses, without.dispatching};
  auto gradient = moe::zeros_like(layer);
  const Matrix<S> y = layer.forward(batch, tape);
  Values values{{name, {static_cast<double>(layer.auxiliary_loss(tape))}}};
  values[name + ".grad.x"] = flat(layer.backward(batch, Matrix<S>::Zero(y.rows(), y.cols()), tape, gradient));
  values[name + ".grad.logits"] = flat(tape.drouting.logits_TE);
  add_parameters(gradient, name + ".grad.", values);
  return values;
}

template <class L, class Loss>
Values loss_values(const std::string& name, const L& layer, const Batch<typename L::Scalar>& batch,
                   const typename L::Tape& tape, const Loss& loss) {
  return loss_values(name, layer, batch, tape, Losses<Loss>{loss});
}

}  // namespace golden
