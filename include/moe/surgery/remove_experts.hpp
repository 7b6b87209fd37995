// Fewer experts: one is removed, or those that were chosen least are pruned.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/layer/layer.hpp"
#include "moe/routing/load.hpp"
#include "moe/surgery/expert_sources.hpp"
#include "moe/surgery/rearrange_experts.hpp"

MOE_NAMESPACE_BEGIN

/// Keeps the experts of the list, in its order. Tokens of the others go to the experts that the gate finds next best;
/// with Hash, their ids go to the kept experts in turn. What follows and what is thrown: see rearrange_experts.
template <class R, class G, class X, class L, class... Followers>
void keep_experts(Layer<R, G, X, L>& layer, const std::vector<Index>& kept, Followers&... followers) {
  rearrange_experts(layer, ExpertSources::copies(static_cast<Index>(layer.experts.size()), kept), followers...);
}

/// Removes one; those after it move up. The others and their moments keep their bits.
template <class R, class G, class X, class L, class... Followers>
void remove_expert(Layer<R, G, X, L>& layer, Index expert, Followers&... followers) {
  const auto count = static_cast<Index>(layer.experts.size());
  require(expert >= 0 && expert < count, "remove_expert: expert ", expert, ", there are ", count);
  std::vector<Index> kept;
  for (Index e = 0; e < count; ++e)
    if (e != expert) kept.push_back(e);
  keep_experts(layer, kept, followers...);
}

/// The `count` experts that were chosen most often, in order of their numbers; of equal ones the lower number. Add up
/// `chosen` over many passes before. Throws std::invalid_argument unless 1 <= count <= E.
inline std::vector<Index> most_loaded_experts(const Load& load, Index count) {
  const auto experts = static_cast<Index>(load.chosen.size());
  require(count >= 1 && count <= experts, "most_loaded_experts: ", count, " of ", experts, " experts");
  std::vector<Index> order(load.chosen.size());
  std::iota(order.begin(), order.end(), Index{0});
  const auto chosen = [&](Index e) { return load.chosen[static_cast<std::size_t>(e)]; };
  std::sort(order.begin(), order.end(),
            [&](Index a, Index b) { return chosen(a) != chosen(b) ? chosen(a) > chosen(b) : a < b; });
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

/// Keeps the `count` experts that were chosen most often, in their order, and returns their old numbers. A token that
/// did not choose a pruned expert keeps its output if its weights do not depend on the other experts, as with TopK's
/// default weights.
template <class R, class G, class X, class L, class... Followers>
std::vector<Index> prune_by_load(Layer<R, G, X, L>& layer, const Load& load, Index count, Followers&... followers) {
  require(load.chosen.size() == layer.experts.size(), "prune_by_load: the load is of ", load.chosen.size(),
          " experts, the layer has ", layer.experts.size());
  std::vector<Index> kept = most_loaded_experts(load, count);
  keep_experts(layer, kept, followers...);
  return kept;
}

MOE_NAMESPACE_END
