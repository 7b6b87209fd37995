// The groups of a batch, which several losses balance one by one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Counts the tokens of each group without padding; returns how many groups have any.
template <class S>
Index count_group_tokens(const Routing<S>& routing, Index group_size, std::vector<Index>& tokens_G) {
  tokens_G.clear();
  Index used = 0;
  for (auto row = routing.valid_T.begin(); row != routing.valid_T.end(); row += group_size) {
    tokens_G.push_back(group_size - std::count(row, row + group_size, 0));
    used += tokens_G.back() > 0 ? 1 : 0;
  }
  return used;
}

}  // namespace detail

MOE_NAMESPACE_END
