// New experts in a trained layer.
#pragma once

#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/layer.hpp"
#include "moe/surgery/expert_rows.hpp"
#include "moe/surgery/expert_sources.hpp"
#include "moe/surgery/rearrange_experts.hpp"

MOE_NAMESPACE_BEGIN

/// Appends experts, and the rows of `router`, a router for them alone, of the layer's kind:
///
///   add_experts(layer, Router<float>::zeros(2, D), make_experts<SwiGlu<float>>(2, D, F, rng), adam);
///
/// A row of zeros gives a logit of 0: the newcomer gets the tokens whose other logits are negative. With a negative
/// bias it gets fewer at first. What the gate keeps for an expert (noise weights, selection bias) starts at 0, and so
/// do the moments in all followers. AdamW counts its steps for all parameters together, so the first steps of a
/// newcomer are (1 - beta1) / sqrt(1 - beta2) times the learning rate, which is 3.2 with the usual settings. The old
/// experts and their moments keep their bits. Throws std::invalid_argument if the parts do not fit, and changes nothing
/// then; see rearrange_experts.
template <class R, class G, class X, class L, class... Followers>
void add_experts(Layer<R, G, X, L>& layer, const R& router, const std::vector<X>& experts, Followers&... followers) {
  require(router.experts() == static_cast<Index>(experts.size()), "add_experts: ", experts.size(),
          " experts, their router scores ", router.experts());
  if constexpr (requires { router.check(); }) router.check();
  ExpertSources sources = ExpertSources::all(static_cast<Index>(layer.experts.size()));
  sources.parents.resize(layer.experts.size() + experts.size());
  Layer<R, G, X, L> edited = detail::rearranged(layer, sources, experts);
  detail::ExpertRows<R>::set_last(edited.router, router);
  std::vector<X> moments = experts;
  for (X& moment : moments) set_zero(moment);
  detail::replace(
      layer, std::move(edited),
      [&](const Layer<R, G, X, L>& moment) { return detail::rearranged(moment, sources, moments); }, followers...);
}

MOE_NAMESPACE_END
