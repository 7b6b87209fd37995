// The groups of a batch, which several losses balance one by one.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Tokens of one group, padding with them: all tokens where the batch has no groups.
template <class S>
Index group_size_of(const Routing<S>& routing) {
  return routing.rows_of_group();
}

/// Counts the tokens of each group without padding; returns how many groups have any.
template <class S>
Index count_group_tokens(const Routing<S>& routing, Index group_size, std::vector<Index>& tokens_G) {
  tokens_G.assign(group_size > 0 ? static_cast<std::size_t>(routing.tokens() / group_size) : 0, Index{0});
  Index used = 0;
  for (Index t = 0; t < routing.tokens(); ++t)
    if (routing.is_valid(t)) used += tokens_G[static_cast<std::size_t>(t / group_size)]++ == 0 ? 1 : 0;
  return used;
}

}  // namespace detail

MOE_NAMESPACE_END
