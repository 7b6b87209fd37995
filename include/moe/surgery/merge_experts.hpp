// Two experts become one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/layer/layer.hpp"
#include "moe/surgery/expert_sources.hpp"
#include "moe/surgery/rearrange_experts.hpp"

MOE_NAMESPACE_BEGIN

struct MergeOptions {
  double share = 0.5;    ///< Of the first expert; for example its part of the load of both (Li et al. 2023, M-SMoE).
  bool add_mass = true;  ///< The bias in the router becomes log(exp(b1) + exp(b2)), the reverse of
                         ///< SplitOptions::halve_mass. Without it the bias becomes the mean, as all other parameters.
};

/// Replaces the first expert by share * first + (1 - share) * second, and removes the second: weights, rows of router
/// and gate, biases, moments. With Hash the new expert gets the ids of both. A mean of networks is sensible only if
/// their hidden units correspond, as those of clones, of copies of one dense network, or of networks that were close in
/// training. An expert that is merged with its clone is what it was before the split: bit for bit with a share of 0.5,
/// and to rounding for a bias with halved and added mass. What follows and what is thrown: see rearrange_experts.
template <class R, class G, class X, class L, class... Followers>
void merge_experts(Layer<R, G, X, L>& layer, Index first, Index second, MergeOptions options, Followers&... followers) {
  const auto count = static_cast<Index>(layer.experts.size());
  require(first >= 0 && first < count && second >= 0 && second < count && first != second, "merge_experts: experts ",
          first, " and ", second, " of ", count);
  require(options.share >= 0 && options.share <= 1, "merge_experts: share is ", options.share,
          ", it must be in [0, 1]");
  ExpertSources sources = ExpertSources::all(count);
  sources.parents[static_cast<std::size_t>(first)] = {{first, options.share}, {second, 1 - options.share}};
  sources.parents.erase(sources.parents.begin() + second);
  Layer<R, G, X, L> edited = detail::rearranged(layer, sources);
  if constexpr (requires { edited.router.bias_E; }) {
    if (options.add_mass && edited.router.bias_E.size() > 0) {
      const auto a = layer.router.bias_E(first), b = layer.router.bias_E(second);
      edited.router.bias_E(first - (second < first ? 1 : 0)) =
          (std::max)(a, b) + std::log1p(std::exp(-std::abs(a - b)));
    }
  }
  detail::replace(
      layer, std::move(edited), [&](const Layer<R, G, X, L>& moment) { return detail::rearranged(moment, sources); },
      followers...);
}

MOE_NAMESPACE_END
