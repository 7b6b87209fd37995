// A trained layer with its experts' weights in another storage: in fewer bits for inference, and back.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A part with its weights in storage W: an expert says how (stored_as<W>()), what has none stays as it is.
template <class W, class Part>
struct InStorage {
  static auto of(const Part& part) {
    if constexpr (requires { part.template stored_as<W>(); })
      return part.template stored_as<W>();
    else
      return part;
  }
};

template <class W, class Part>
auto in_storage(const Part& part) {
  return InStorage<W, Part>::of(part);
}
template <class W, class Part>
using PartInStorage = decltype(in_storage<W>(std::declval<const Part&>()));

template <class W, class Part>
struct InStorage<W, std::vector<Part>> {
  static auto of(const std::vector<Part>& parts) {
    std::vector<PartInStorage<W, Part>> all;
    all.reserve(parts.size());
    for (const Part& part : parts) all.push_back(in_storage<W>(part));
    return all;
  }
};

template <class W, class S, class... Xs>
struct InStorage<W, VariantExpert<S, Xs...>> {
  static auto of(const VariantExpert<S, Xs...>& part) {
    require(!part.expert.valueless_by_exception(), "quantized: a VariantExpert holds no expert");
    VariantExpert<S, PartInStorage<W, Xs>...> other;
    part.visit([&](const auto& own, auto i) { other.expert.template emplace<i>(in_storage<W>(own)); });
    return other;
  }
};

template <class W, class R, class G, class X, class L>
struct InStorage<W, Layer<R, G, X, L>> {
  static auto of(const Layer<R, G, X, L>& part) {
    return Layer{part.router, part.gate, in_storage<W>(part.experts), part.losses, part.dispatching};
  }
};

template <class W, class L, class X, class M>
struct InStorage<W, Shared<L, X, M>> {
  static auto of(const Shared<L, X, M>& part) {
    return Shared{in_storage<W>(part.layer), in_storage<W>(part.expert), part.mix};
  }
};

template <class W, class S, class X>
struct InStorage<W, SoftLayer<S, X>> {
  static auto of(const SoftLayer<S, X>& part) {
    SoftLayer<S, PartInStorage<W, X>> other;
    other.slot_PD = part.slot_PD, other.options = part.options;
    other.token_gain_D = part.token_gain_D, other.slot_gain_D = part.slot_gain_D;
    other.experts = in_storage<W>(part.experts);
    return other;
  }
};

}  // namespace detail

/// The layer, or expert, with the weights of its experts in storage W (moe/storage/), each rounded to what W holds:
///   auto fast = moe::quantized<moe::Int8Weights>(layer);
/// A value of another type, for inference; biases, router, gate and all settings are copied, so that the same experts
/// are chosen. Layers in layers, Shared, SoftLayer and VariantExpert are converted whole; an expert of one's own if it
/// has stored_as<W>() (moe/concepts.hpp), else it stays as it is. Throws std::invalid_argument if W does not hold a
/// number: NaN, or infinite.
template <class W, class Part>
auto quantized(const Part& part) {
  static_assert(!std::is_same_v<detail::PartInStorage<W, Part>, Part>,
                "moe::quantized: no part of this has weights in a storage that could be replaced; see stored_as in "
                "moe/concepts.hpp");
  return detail::in_storage<W>(part);
}

/// The reverse: Weights<float> of the very numbers that the storage holds, which can be trained.
template <class Part>
auto dequantized(const Part& part) {
  return detail::in_storage<Weights<float>>(part);
}

MOE_NAMESPACE_END
