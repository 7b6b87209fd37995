// Choices of the best experts, as many for a token as the gate says.
#pragma once

#include <algorithm>
#include <cstddef>
#include <tuple>

#include "moe/core/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Writes the probabilities of all tokens, and for each that is not padding the choices of its best experts by the
/// selection logits, without weights. Of `most(token)` experts, best first, the first `taken(token, experts)` are
/// chosen. Priority: by rank, then by token.
template <class S, class Most, class Taken>
void choose_best(Routing<S>& routing, Most&& most, Taken&& taken) {
  auto& chosen = routing.workspace.indices;
  chosen.resize(static_cast<std::size_t>(routing.experts()));
  for (Index t = 0; t < routing.tokens(); ++t) {
    routing.set_probabilities(t);
    if (!routing.is_valid(t)) continue;
    top_k(routing.selection_logits_TE().row(t).data(), routing.experts(), most(t), chosen.data());
    const Index count = taken(t, chosen.data());
    for (Index rank = 0; rank < count; ++rank)
      routing.choices.push_back({t, chosen[static_cast<std::size_t>(rank)], S(0), static_cast<int>(rank)});
  }
  std::sort(routing.choices.begin(), routing.choices.end(),
            [](const auto& a, const auto& b) { return std::tie(a.rank, a.token) < std::tie(b.rank, b.token); });
}

}  // namespace detail

MOE_NAMESPACE_END
