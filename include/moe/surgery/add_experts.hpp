// Newcomers in a trained layer.
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
/// Rows of zeros attract tokens at once wherever the other logits are negative; a row below the others' (a negative
/// bias) waits. What the gate keeps for an expert (noise weights, selection bias) starts at 0, and so do the moments in
/// all that follows; since AdamW counts its steps for all, a newcomer's first steps are (1 - beta1) / sqrt(1 - beta2)
/// times the learning rate, 3.2 with the usual settings. The old experts and their moments keep their bits. Throws
/// std::invalid_argument, with everything left as it was, if the parts do not fit; see rearrange_experts.
template <class R, class G, class X, class L, class... Followers>
void add_experts(Layer<R, G, X, L>& layer, const R& router, const std::vector<X>& experts, Followers&... followers) {
  require(router.experts() == static_cast<Index>(experts.size()), "add_experts: ", experts.size(),
          " experts, their router scores ", router.experts());
  if constexpr (requires { router.check(); }) router.check();
  ExpertSources sources = ExpertSources::all(static_cast<Index>(layer.experts.size()));
  sources.of.resize(layer.experts.size() + experts.size());
  Layer<R, G, X, L> edited = detail::rearranged(layer, sources, experts);
  detail::ExpertRows<R>::set_last(edited.router, router);
  std::vector<X> moments = experts;
  for (X& moment : moments) set_zero(moment);
  detail::replace(
      layer, std::move(edited),
      [&](const Layer<R, G, X, L>& moment) { return detail::rearranged(moment, sources, moments); }, followers...);
}

MOE_NAMESPACE_END
