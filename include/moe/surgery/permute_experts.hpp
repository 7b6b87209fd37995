// The experts of a layer in another order.
#pragma once

#include <algorithm>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/layer/layer.hpp"
#include "moe/surgery/expert_sources.hpp"
#include "moe/surgery/rearrange_experts.hpp"

MOE_NAMESPACE_BEGIN

/// New expert i is old expert order[i]. The layer computes what it did, to rounding, since sums over experts have
/// another order. It does not where the gate uses the numbers of the experts: equal logits, groups of neighbours
/// (ScoredTopK), noise that is drawn expert by expert. What follows and what is thrown: see rearrange_experts.
template <class R, class G, class X, class L, class... Followers>
void permute_experts(Layer<R, G, X, L>& layer, const std::vector<Index>& order, Followers&... followers) {
  const auto count = static_cast<Index>(layer.experts.size());
  std::vector<Index> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  bool is_order = sorted.size() == layer.experts.size();
  for (Index e = 0; is_order && e < count; ++e) is_order = sorted[static_cast<std::size_t>(e)] == e;
  require(is_order, "permute_experts: an order of ", order.size(), " must name each of the ", count, " experts once");
  rearrange_experts(layer, ExpertSources::copies(count, order), followers...);
}

MOE_NAMESPACE_END
