// The one operation behind adding, removing, splitting, merging and permuting the experts of a trained layer.
#pragma once

#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/layer.hpp"
#include "moe/surgery/expert_rows.hpp"
#include "moe/surgery/expert_sources.hpp"
#include "moe/surgery/writable_weights.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The sum of the parents' shares. Buffers (of experts that are layers) are the first parent's. A copy keeps its bits.
template <class X>
X mixed_expert(const std::vector<X>& experts, const std::vector<ExpertShare>& parents) {
  X mix = experts[static_cast<std::size_t>(parents.front().expert)];
  if (is_copy(parents)) return mix;
  require_writable_weights("rearrange_experts", mix);
  set_zero(mix);
  for (const auto& [expert, share] : parents) {
    const X& parent = experts[static_cast<std::size_t>(expert)];
    check_gradient("rearrange_experts: an expert to be mixed", mix, parent);
    for_each_parameter(
        [s = share](std::string_view, auto& sum, const auto& addend) {
          using S = typename std::remove_cvref_t<decltype(sum)>::Scalar;
          sum.array() += static_cast<S>(s) * addend.array();
        },
        mix, parent);
  }
  return mix;
}

/// The layer with new router, gate and experts; the newcomers are taken from `newcomers`, in order. The result is not
/// checked: the settings of the gate may not suit the new number of experts.
template <class R, class G, class X, class L>
Layer<R, G, X, L> rearranged(const Layer<R, G, X, L>& layer, const ExpertSources& sources,
                             const std::vector<X>& newcomers = {}) {
  require(sources.old_count == static_cast<Index>(layer.experts.size()), "rearrange_experts: sources of ",
          sources.old_count, " experts, the layer has ", layer.experts.size());
  sources.check();
  Layer<R, G, X, L> result = layer;
  ExpertRows<R>::rearrange(result.router, sources);
  ExpertRows<G>::rearrange(result.gate, sources);
  result.experts.clear();
  std::size_t next = 0;
  for (const auto& parents : sources.parents) {
    require(!parents.empty() || next < newcomers.size(), "rearrange_experts: ", newcomers.size(),
            " newcomers are too few");
    result.experts.push_back(parents.empty() ? newcomers[next++] : mixed_expert(layer.experts, parents));
  }
  return result;
}

/// Lists the followers of a layer: of an optimiser its moments, else the value itself (a gradient, or a part of the
/// moments of a larger optimiser).
template <class SomeLayer, class Follower>
void list_moments(Follower& follower, std::vector<SomeLayer*>& list) {
  if constexpr (requires { follower.moments(); })
    std::apply([&](auto&... moments) { (list.push_back(&moments), ...); }, follower.moments());
  else
    list.push_back(&follower);
}

/// Replaces the layer by `edited`, if that fits together, and each moment by edit(moment). If anything throws, nothing
/// has changed.
template <class SomeLayer, class Edit, class... Followers>
void replace(SomeLayer& layer, SomeLayer edited, Edit&& edit, Followers&... followers) {
  edited.check();
  std::vector<SomeLayer*> moments;
  (list_moments(followers, moments), ...);
  std::vector<SomeLayer> edited_moments;
  for (const SomeLayer* moment : moments) {
    require(moment != &layer, "rearrange_experts: the layer is named as its own follower");
    check_gradient("rearrange_experts: an optimiser or gradient", layer, *moment);
    edited_moments.push_back(edit(*moment));
  }
  layer = std::move(edited);
  for (std::size_t i = 0; i < moments.size(); ++i) *moments[i] = std::move(edited_moments[i]);
}

}  // namespace detail

/// New expert i is the sum of the old ones in sources.parents[i]. The same is done to the router's rows and biases, to
/// the rows and buffers of the gate, and to the followers: optimisers of the layer, gradients, or the layer's part of
/// the moments of a larger model (`auto [mean, square] = adam.moments(); rearrange_experts(model.moe, sources,
/// mean.moe, square.moe)`). There are no newcomers here; see add_experts.
///
/// Names with numbers ("experts.3" in Frozen) mean the new numbers afterwards. Call it between optimiser steps: a tape,
/// a LoadBalanceLoss's `earlier` and a GateLabelLoss's labels are of the old experts. Throws std::invalid_argument if
/// the parts would not fit together, and changes nothing then. With TopK, k must not be more than the new number of
/// experts: lower it before, or raise it after.
template <class R, class G, class X, class L, class... Followers>
void rearrange_experts(Layer<R, G, X, L>& layer, const ExpertSources& sources, Followers&... followers) {
  detail::replace(
      layer, detail::rearranged(layer, sources),
      [&](const Layer<R, G, X, L>& moment) { return detail::rearranged(moment, sources); }, followers...);
}

MOE_NAMESPACE_END
