// An expert and its clone share the work of one expert: more capacity for an expert with a high load.
#pragma once

#include <cmath>
#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/layer/layer.hpp"
#include "moe/surgery/expert_sources.hpp"
#include "moe/surgery/rearrange_experts.hpp"

MOE_NAMESPACE_BEGIN

struct SplitOptions {
  /// Both biases in the router become smaller by log 2. The two experts together then have the probability that the one
  /// had, and every other expert keeps its own. Without it the clone takes probability from all. Needs a router with a
  /// bias.
  bool halve_mass = true;
};

/// Appends a clone of the expert, with the same row in the router, the same noise weights and bias in the gate, and the
/// same moments in all followers. With Hash the ids of the expert go to the two in turn.
///
/// The layer computes what it did (to rounding)
///   - with weights that are a softmax over all experts, all chosen (Softmax; TopK with k = E, raised to E + 1 after),
///     and halve_mass;
///   - with Hash and uniform weights, or a Replay of recorded weights (bit for bit, without halve_mass).
/// With other gates the probabilities keep their sum as said above, but the gate selects among expert and clone: with k
/// = 1 and probabilities as weights, a token of that expert gets half of its output, since it cannot choose both.
///
/// Clones with equal gradients stay equal; add_noise (moe/surgery/add_noise.hpp) to one of them makes them different.
/// What follows and what is thrown: see rearrange_experts.
template <class R, class G, class X, class L, class... Followers>
void split_expert(Layer<R, G, X, L>& layer, Index expert, SplitOptions options, Followers&... followers) {
  const auto count = static_cast<Index>(layer.experts.size());
  require(expert >= 0 && expert < count, "split_expert: expert ", expert, ", there are ", count);
  ExpertSources sources = ExpertSources::all(count);
  sources.parents.push_back({{expert}});
  Layer<R, G, X, L> edited = detail::rearranged(layer, sources);
  if (options.halve_mass) {
    bool has_bias = false;
    if constexpr (requires { edited.router.bias_E; }) {
      has_bias = edited.router.bias_E.size() > 0;
      if (has_bias)
        for (const Index e : {expert, count}) edited.router.bias_E(e) -= static_cast<typename R::Scalar>(std::log(2.0));
    }
    require(has_bias, "split_expert: the router has no bias to halve the mass with; give it one of zeros (and ",
            "the moments), or set halve_mass = false");
  }
  detail::replace(
      layer, std::move(edited), [&](const Layer<R, G, X, L>& moment) { return detail::rearranged(moment, sources); },
      followers...);
}

MOE_NAMESPACE_END
