// The tokens of one call, and what else is known of them.
#pragma once

#include <cstdint>
#include <span>

#include "moe/core.hpp"

MOE_NAMESPACE_BEGIN

/// Tokens as rows, made implicitly from any row-major Eigen matrix, block or map; nothing is copied, so what it was
/// made from must outlive it.
template <class S>
struct Batch {
  static_assert(detail::ComputesIn<S>::is_known);
  RowsRef<S> x_TD;
  std::span<const std::int64_t> ids = {};  ///< One id a token (a vocabulary index, say), or empty. Hash gates need it.
  std::span<const std::uint8_t> valid = {};  ///< 1: a token, 0: padding; empty: all are tokens. Padding is routed
                                             ///< nowhere, gets a zero row, and enters no loss and no statistic.
  Index group_size =
      0;  ///< Capacity is counted within groups of this many neighbouring rows; 0: all rows are one group.

  template <class Derived>
  Batch(const Eigen::MatrixBase<Derived>& x) : x_TD(x.derived()) {}

  Index tokens() const { return x_TD.rows(); }
  Index groups() const { return group_size > 0 ? tokens() / group_size : Index{1}; }
  Index group_of(Index token) const { return group_size > 0 ? token / group_size : Index{0}; }
  bool is_valid(Index token) const { return valid.empty() || valid[static_cast<std::size_t>(token)] != 0; }

  /// Throws std::invalid_argument unless the lengths agree.
  void check() const {
    const auto rows = static_cast<std::size_t>(tokens());
    detail::require(ids.empty() || ids.size() == rows, "Batch: ", ids.size(), " ids for ", rows, " tokens");
    detail::require(valid.empty() || valid.size() == rows, "Batch: the padding mask has ", valid.size(),
                    " entries for ", rows, " tokens");
    detail::require(group_size >= 0, "Batch: group_size is ", group_size, ", it must be 0 (one group) or more");
    detail::require(group_size == 0 || tokens() % group_size == 0, "Batch: ", rows,
                    " tokens do not divide into groups of ", group_size);
  }
};

MOE_NAMESPACE_END
