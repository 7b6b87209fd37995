// A past order of priority of DeepSpeed's, reproduced.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/capacity.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Makes choices unsent, of a routing in the order of logits, as if each token that did not choose an expert took part
/// with a logit of 0. If m of the n tokens of a group chose an expert with C slots, p of them with a logit that is not
/// negative, then of the others only the first C - p - (n - m) stay.
template <class S>
void lose_against_zero(const Batch<S>& batch, Routing<S>& routing, const Capacity& capacity, bool training) {
  const Index groups = batch.groups(), experts = routing.experts();
  std::vector<Index>& indices = routing.workspace.indices;
  indices.assign(static_cast<std::size_t>(groups * (experts + 2)), 0);
  Index *tokens = indices.data(), *choices = tokens + groups, *free_GE = choices + groups;
  const auto at = [experts](Index group, Index expert) { return group * experts + expert; };
  for (Index t = 0; t < routing.tokens(); ++t) tokens[batch.group_of(t)] += routing.is_valid(t) ? 1 : 0;
  for (const Choice<S>& c : routing.choices) ++choices[batch.group_of(c.token)];
  for (Index g = 0; g < groups; ++g)
    for (Index e = 0; e < experts; ++e)
      free_GE[at(g, e)] = capacity.slots(tokens[g], choices[g], experts, training) - tokens[g];
  for (const Choice<S>& c : routing.choices) {  // + m - p: the slots left for negative logits
    const bool negative = routing.logits_TE(c.token, c.expert) < 0;
    free_GE[at(batch.group_of(c.token), c.expert)] += negative ? 1 : 0;
  }
  for (Choice<S>& c : routing.choices) {
    if (!(routing.logits_TE(c.token, c.expert) < 0)) continue;
    Index& left = free_GE[at(batch.group_of(c.token), c.expert)];
    if (left > 0)
      --left;
    else
      c.fate = Fate::unsent;
  }
}

}  // namespace detail

MOE_NAMESPACE_END
