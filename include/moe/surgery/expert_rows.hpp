// What routers and gates keep for each expert, and how it follows when the experts are rearranged.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/variant.hpp"
#include "moe/gating/hash.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/gating/replay.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/variable_top_k.hpp"
#include "moe/gating/variant_gate.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/router/cosine_router.hpp"
#include "moe/router/no_router.hpp"
#include "moe/router/router.hpp"
#include "moe/routing/routing.hpp"
#include "moe/surgery/expert_sources.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Row i of the result is the sum of the rows in sources.parents[i], zero for a newcomer; a copy keeps its bits. An
/// empty matrix or vector (a bias that is not there) stays empty.
template <class M>
M rearranged_rows(const M& rows, const ExpertSources& sources) {
  if (rows.size() == 0) return rows;
  require(rows.rows() == sources.old_count, "rearrange_experts: a router or gate has ", rows.rows(), " rows for ",
          sources.old_count, " experts");
  M result = M::Zero(sources.count(), rows.cols());
  const Index width = rows.cols();
  for (Index i = 0; i < sources.count(); ++i) {
    const auto& parents = sources.parents[static_cast<std::size_t>(i)];
    auto* const row = result.data() + i * width;
    if (is_copy(parents))
      std::copy_n(rows.data() + parents.front().expert * width, width, row);
    else
      for (const auto& [expert, share] : parents)
        add_scaled_row(static_cast<typename M::Scalar>(share), rows.data() + expert * width, width, row);
  }
  return result;
}

/// A part without anything of an expert's own, unless it says otherwise: a router or gate of the user's offers
/// `rearrange_experts(sources)` (rearranged_rows does the work), a router also `set_last_experts(router)`, which takes
/// the rows of newcomers from a router for them alone; a gate around another has it as `gate`.
template <class Part>
struct ExpertRows {
  static void rearrange(Part& part, const ExpertSources& sources) {
    constexpr bool has_parameters = NamesParameters<Part>;
    constexpr bool has_buffers = NamesBuffers<Part>;
    constexpr bool is_around_a_gate = requires { part.gate; };  // whose buffers these are
    if constexpr (requires { part.rearrange_experts(sources); })
      part.rearrange_experts(sources);
    else if constexpr (is_around_a_gate && !has_parameters)
      ExpertRows<decltype(part.gate)>::rearrange(part.gate, sources);
    else
      static_assert(!has_parameters && !has_buffers,
                    "moe: experts cannot be rearranged: a router or gate with parameters or buffers must offer "
                    "rearrange_experts(sources); see moe/surgery/expert_rows.hpp");
  }

  static void set_last(Part& part, const Part& newcomers) { part.set_last_experts(newcomers); }
};

template <class S>
struct ExpertRows<Router<S>> {
  static void rearrange(Router<S>& router, const ExpertSources& sources) {
    router.weight_ED = rearranged_rows(router.weight_ED, sources);
    router.bias_E = rearranged_rows(router.bias_E, sources);
  }

  static void set_last(Router<S>& router, const Router<S>& newcomers) {
    require(newcomers.width() == router.width(), "add_experts: the newcomers' router is for width ", newcomers.width(),
            ", the layer's for ", router.width());
    require(newcomers.bias_E.size() == 0 || router.bias_E.size() > 0,
            "add_experts: the newcomers' router has a bias, the layer's has none");
    router.weight_ED.bottomRows(newcomers.experts()) = newcomers.weight_ED;
    if (newcomers.bias_E.size() > 0) router.bias_E.tail(newcomers.experts()) = newcomers.bias_E;
  }
};

template <class S>
struct ExpertRows<CosineRouter<S>> {
  static void rearrange(CosineRouter<S>& router, const ExpertSources& sources) {
    router.expert_EP = rearranged_rows(router.expert_EP, sources);
  }

  static void set_last(CosineRouter<S>& router, const CosineRouter<S>& newcomers) {
    require(newcomers.expert_EP.cols() == router.expert_EP.cols(), "add_experts: the newcomers' directions have ",
            newcomers.expert_EP.cols(), " entries, the layer's ", router.expert_EP.cols());
    router.expert_EP.bottomRows(newcomers.experts()) = newcomers.expert_EP;
  }
};

template <class S>
struct ExpertRows<NoRouter<S>> {
  static void rearrange(NoRouter<S>& router, const ExpertSources& sources) { router.expert_count = sources.count(); }
  static void set_last(NoRouter<S>&, const NoRouter<S>&) {}
};

template <class S, class G>
struct ExpertRows<LearnedNoise<S, G>> {
  static void rearrange(LearnedNoise<S, G>& gate, const ExpertSources& sources) {
    gate.noise_weight_ED = rearranged_rows(gate.noise_weight_ED, sources);
    ExpertRows<G>::rearrange(gate.gate, sources);
  }
};

template <>
struct ExpertRows<ScoredTopK> {
  static void rearrange(ScoredTopK& gate, const ExpertSources& sources) {
    gate.selection_bias_E = rearranged_rows(gate.selection_bias_E, sources);
  }
};

/// k_T says nothing of any single expert.
template <>
struct ExpertRows<VariableTopK> {
  static void rearrange(VariableTopK&, const ExpertSources&) {}
};

/// The ids of an expert go to its heirs in turn; those of an expert without heirs to all new experts in turn. A
/// newcomer gets no id of an expert that stays.
template <>
struct ExpertRows<Hash> {
  static void rearrange(Hash& gate, const ExpertSources& sources) {
    for (std::vector<Index>& table : gate.tables) {
      Heirs heirs(sources);
      for (Index& expert : table) expert = heirs.take(expert);
    }
  }
};

/// The same; choices of an expert without heirs are lost.
template <class S>
struct ExpertRows<Replay<S>> {
  static void rearrange(Replay<S>& gate, const ExpertSources& sources) {
    Heirs heirs(sources);
    std::erase_if(gate.choices, [&](const Choice<S>& c) { return !heirs.any(c.expert); });
    for (Choice<S>& c : gate.choices) c.expert = heirs.take(c.expert);
  }
};

/// Rearranges the held gate.
template <class S, class... Gs>
struct ExpertRows<VariantGate<S, Gs...>> {
  static void rearrange(VariantGate<S, Gs...>& gate, const ExpertSources& sources) {
    visit_alternative(gate.gate, [&]<class G>(G& own, auto) { ExpertRows<G>::rearrange(own, sources); });
  }
};

}  // namespace detail

MOE_NAMESPACE_END
