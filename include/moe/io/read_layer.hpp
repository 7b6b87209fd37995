// Layers of other libraries' models, read from their checkpoints into a layer whose type the caller states.
#pragma once

#include <concepts>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/expert/activations.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/mix.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/gating/variant_gate.hpp"
#include "moe/io/any_layer.hpp"
#include "moe/io/families.hpp"
#include "moe/io/layer_names.hpp"
#include "moe/io/stored_layer.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// An expert in a checkpoint. What it does not have is null; without weights it is one of those that compute nothing.
struct StoredExpert {
  const io::StoredWeight *gate = nullptr, *up = nullptr, *down = nullptr;
  const io::StoredWeight *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  const io::StoredWeight* constant = nullptr;  ///< Its output, whatever the token.
  bool copies_input = false;
  io::ExpertForm form = {};

  static StoredExpert of_layer(const io::StoredLayer& layer, Index e) {
    using io::Part;
    if (e >= layer.experts() - layer.copying_experts()) return {.copies_input = true};
    return {.gate = layer.weight(Part::gate, e),
            .up = layer.weight(Part::up, e),
            .down = layer.weight(Part::down, e),
            .gate_bias = layer.weight(Part::gate_bias, e),
            .up_bias = layer.weight(Part::up_bias, e),
            .down_bias = layer.weight(Part::down_bias, e),
            .form = layer.form()};
  }
  static StoredExpert beside(const io::StoredLayer& layer) {
    using io::Part;
    return {.gate = layer.weight(Part::shared_gate),
            .up = layer.weight(Part::shared_up),
            .down = layer.weight(Part::shared_down),
            .constant = layer.weight(Part::output_bias),
            .form = layer.form()};
  }

  std::string description() const {
    if (copies_input) return "an expert that returns its input";
    if (constant != nullptr) return "a bias of the layer's output";
    if (up == nullptr) return "no expert";
    const bool is_clamped = form.clamp.alpha != 1 || form.clamp.limit != 0 || form.clamp.offset != 0;
    return std::string(gate != nullptr ? "a gated unit of '" : "two projections with '") + form.activation + "'" +
           (is_clamped ? " and a clamp" : "");
  }
};

template <class A>
constexpr std::string_view name_of_activation() {
  if (std::is_same_v<A, Silu> || std::is_same_v<A, ClampedSilu>) return "silu";
  if (std::is_same_v<A, Gelu>) return "gelu";
  if (std::is_same_v<A, GeluTanh>) return "gelu_tanh";
  if (std::is_same_v<A, Relu>) return "relu";
  if (std::is_same_v<A, SquaredRelu>) return "relu2";
  return "";
}

/// Whether an activation is the checkpoint's; its settings are then set.
template <class A>
bool set_activation(A& activation, const io::ExpertForm& form) {
  if (plain_activation(form.activation) != name_of_activation<A>()) return false;
  if constexpr (std::is_same_v<A, ClampedSilu>) {
    activation = form.clamp;
    return true;
  }
  return form.clamp.alpha == 1 && form.clamp.limit == 0 && form.clamp.offset == 0;
}

// Whether an expert of that type can be the stored one; its weights are then noted.

template <class X, class S>
bool set_expert(X&, const StoredExpert&, WeightReading<S>&) {
  return false;
}

template <class S, class A>
bool set_expert(Glu<S, A>& expert, const StoredExpert& from, WeightReading<S>& reading) {
  if (from.gate == nullptr || from.constant != nullptr || !set_activation(expert.activation, from.form)) return false;
  reading.add(*from.gate, expert.w1_FD);
  reading.add(*from.up, expert.w3_FD);
  reading.add(*from.down, expert.w2_DF);
  reading.add(from.gate_bias, expert.b1_F);
  reading.add(from.up_bias, expert.b3_F);
  reading.add(from.down_bias, expert.b2_D);
  return true;
}

template <class S, class A>
bool set_expert(Mlp<S, A>& expert, const StoredExpert& from, WeightReading<S>& reading) {
  A activation;
  if (from.gate != nullptr || from.up == nullptr || from.constant != nullptr || !set_activation(activation, from.form))
    return false;
  reading.add(*from.up, expert.w1_FD);
  reading.add(*from.down, expert.w2_DF);
  reading.add(from.up_bias, expert.b1_F);
  reading.add(from.down_bias, expert.b2_D);
  return true;
}

template <class S>
bool set_expert(IdentityExpert<S>&, const StoredExpert& from, WeightReading<S>&) {
  return from.copies_input;
}
template <class S>
bool set_expert(ZeroExpert<S>&, const StoredExpert& from, WeightReading<S>&) {
  return from.up == nullptr && from.constant == nullptr && !from.copies_input;
}
template <class S>
bool set_expert(ConstantExpert<S>& expert, const StoredExpert& from, WeightReading<S>& reading) {
  if (from.up != nullptr || from.constant == nullptr) return false;
  reading.add(*from.constant, expert.value_D);
  return true;
}

/// The first of its types that fits.
template <class S, class... Xs>
bool set_expert(VariantExpert<S, Xs...>& expert, const StoredExpert& from, WeightReading<S>& reading) {
  return (set_expert(expert.expert.template emplace<Xs>(), from, reading) || ...);
}

template <class G>
inline constexpr bool is_family_gate =
    std::is_same_v<G, TopK> || std::is_same_v<G, ScoredTopK> || std::is_same_v<G, SparseMixer>;

template <class G>
bool set_gate(G& gate, const io::FamilyGate& from) {
  if constexpr (is_family_gate<G>)
    if (const G* const own = std::get_if<G>(&from)) {
      gate = *own;
      return true;
    }
  return false;
}
template <class S, class... Gs>
bool set_gate(VariantGate<S, Gs...>& gate, const io::FamilyGate& from) {
  const auto set = [&]<class G>(std::type_identity<G>) {
    if constexpr (is_family_gate<G>)
      return set_gate(gate.gate.template emplace<G>(), from);
    else
      return false;
  };
  return (set(std::type_identity<Gs>{}) || ...);
}

template <class S>
void set_mix(PlainSum&, const io::StoredLayer&, WeightReading<S>&) {}
template <class S>
void set_mix(SigmoidMix<S>& mix, const io::StoredLayer& stored, WeightReading<S>& reading) {
  if (!stored.has(io::Part::shared_mix)) stored.fail("has no gate of a shared expert, for which a SigmoidMix stands");
  reading.add(*stored.weight(io::Part::shared_mix), mix.weight_LD);
}
template <class S>
void set_mix(io::AnyMix<S>& mix, const io::StoredLayer& stored, WeightReading<S>& reading) {
  if (stored.has(io::Part::shared_mix)) set_mix(mix.sigmoid, stored, reading);
  mix.layer_weight = stored.output_scale();
}

template <class S, class L>
void set_layer(L&, const io::StoredLayer&, WeightReading<S>&) {
  static_assert(!std::is_same_v<L, L>,
                "moe::io::read_layer: what is read is a moe::Layer with a moe::Router, or a moe::Shared around one");
}

template <class S, class G, class X, class L>
void set_layer(Layer<Router<S>, G, X, L>& layer, const io::StoredLayer& stored, WeightReading<S>& reading) {
  reading.add(*stored.weight(io::Part::router), layer.router.weight_ED);
  reading.add(stored.weight(io::Part::router_bias), layer.router.bias_E);
  if (!set_gate(layer.gate, stored.gate())) {
    static constexpr std::string_view names[] = {"TopK", "ScoredTopK", "SparseMixer"};
    stored.fail("its gate is a ", names[stored.gate().index()], ", which the type of the layer cannot be");
  }
  layer.experts.resize(static_cast<std::size_t>(stored.experts()));
  for (Index e = 0; e < stored.experts(); ++e) {
    const auto expert = StoredExpert::of_layer(stored, e);
    if (!set_expert(layer.experts[static_cast<std::size_t>(e)], expert, reading))
      stored.fail("expert ", e, " is ", expert.description(), ", which the type of the layer's experts cannot be");
  }
  layer.dispatching = stored.dispatching();
}

template <class S, class L, class X, class M>
void set_layer(Shared<L, X, M>& shared, const io::StoredLayer& stored, WeightReading<S>& reading) {
  set_layer(shared.layer, stored, reading);
  const auto expert = StoredExpert::beside(stored);
  if (!set_expert(shared.expert, expert, reading))
    stored.fail("beside its experts it has ", expert.description(), ", which the type of the shared one cannot be");
  set_mix(shared.mix, stored, reading);
}

/// Throws if the layer has no place for a weight: every tensor is read, or none.
template <class S>
void require_all_noted(const io::StoredLayer& stored, const WeightReading<S>& reading) {
  const Index of_gates = stored.has(io::Part::selection_bias) ? 1 : 0;
  if (reading.weights() + of_gates == stored.weights()) return;
  for (int part = 0; part < io::number_of_parts; ++part)
    if (const auto* const weight = stored.weight(static_cast<io::Part>(part));
        weight != nullptr && part != static_cast<int>(io::Part::selection_bias) && !reading.has(*weight))
      stored.fail("the type of the layer has no place for ", in_quotes(weight->tensor->name()),
                  part >= static_cast<int>(io::Part::shared_gate) ? "; a moe::Shared has" : "");
}

}  // namespace detail

namespace io {

struct ReadOptions {
  const Family* family = nullptr;          ///< One of your own; without it, the one that the checkpoint names.
  Precision precision = Precision::exact;  ///< Double in the file and float in the layer: see Precision.
};

/// A layer of type L, in float or double, from the tensors whose names begin with `name`: "model.layers.3",
/// "blk.3". L is a Layer with a Router, or a Shared around one; AnyLayer is whatever is there. Gate, settings, dispatch
/// and weights are set, the losses are as L makes them. Matrices are decoded by the threads of the executor.
///
/// Throws FileError, in words, for what StoredLayer refuses and what L cannot be; std::invalid_argument for settings
/// that no layer can have, such as more choices than experts.
template <class L, class Exec = DefaultExecutor>
L read_layer(const StoredLayer& stored, Precision precision = Precision::exact, const Exec& executor = {}) {
  static_assert(std::default_initializable<L>, "moe::io::read_layer: the layer's type needs a default constructor");
  using S = typename L::Scalar;
  L layer;
  moe::detail::WeightReading<S> reading;
  moe::detail::set_layer(layer, stored, reading);
  moe::detail::require_all_noted(stored, reading);
  if constexpr (!requires { layer.mix.layer_weight; })
    if (stored.output_scale() != 1)
      stored.fail("outputs are multiplied by ", stored.output_scale(), ", for which an AnyLayer has a place");
  reading.run(executor, precision);
  layer.check();
  return layer;
}

template <class L, class Exec = DefaultExecutor>
L read_layer(const Checkpoint& checkpoint, std::string_view name, const ReadOptions& options = {},
             const Exec& executor = {}) {
  const Family& family = options.family != nullptr ? *options.family : family_of(checkpoint);
  return read_layer<L>(StoredLayer(checkpoint, name, family), options.precision, executor);
}

}  // namespace io

MOE_NAMESPACE_END
