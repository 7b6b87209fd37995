// Group-limited selection: only the experts of the best expert groups, each of neighbouring experts, can be chosen.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/kernel/selection.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Sets the keys of all experts outside the best `groups_used` groups to -infinity, and makes the others finite. The
/// score of a group adds up its `counted` best experts. `biased` keys are s + bias, and their sums are compared; keys
/// without a bias are log s, and the logarithms of the sums of s are compared. `total` and `indices` are workspace:
/// `indices` needs max(E, groups + E / groups) entries.
template <class S>
void mask_groups(Vector<S>& key_E, Index groups, Index groups_used, Index counted, bool biased, Vector<S>& total,
                 std::vector<Index>& indices) {
  const Index size = key_E.size() / groups;
  Index* best = indices.data();  // of one group; then the best groups
  total.resize(key_E.size());    // as its other users do; only `groups` entries are used
  for (Index g = 0; g < groups; ++g) {
    const S* key = key_E.data() + g * size;
    top_k(key, size, counted, best);
    S sum = 0;
    for (Index i = 0; i < counted; ++i) {
      const S distance = key[best[i]] == key[best[0]] ? S(0) : key[best[i]] - key[best[0]];
      sum += biased ? key[best[i]] : std::exp(distance);
    }
    total(g) = biased ? sum : key[best[0]] + std::log(sum);
  }
  top_k(total.data(), groups, groups_used, best);
  for (Index g = 0; g < groups; ++g) {
    auto group = key_E.segment(g * size, size);
    if (std::find(best, best + groups_used, g) == best + groups_used)
      group.setConstant(-std::numeric_limits<S>::infinity());
    else
      for (S& key : group) key = (std::max)(selection_key(key), std::numeric_limits<S>::lowest());
  }
}

}  // namespace detail

MOE_NAMESPACE_END
