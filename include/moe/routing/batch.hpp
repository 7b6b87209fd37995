// The tokens of one call, and what else is known of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// A list from a caller: of one that has a name (a vector, an array, a span) it is a view, and the list must outlive
/// it; one that is moved in or has no name it keeps itself, also where it is moved or copied.
template <class Item>
class ListRef {
 public:
  ListRef() = default;
  template <class List>
  requires(!std::is_same_v<std::remove_cvref_t<List>, ListRef> && std::is_constructible_v<std::span<const Item>, List&>)
      ListRef(List&& list) {  // NOLINT(google-explicit-constructor)
    if constexpr (std::is_lvalue_reference_v<List> || std::ranges::enable_borrowed_range<std::remove_cvref_t<List>>)
      seen_ = std::span<const Item>(list);
    else
      keep({std::ranges::begin(list), std::ranges::end(list)});
  }
  ListRef(std::vector<Item>&& list) { keep(std::move(list)); }
  ListRef(std::initializer_list<Item> list) { keep(list); }

  ListRef(const ListRef& other)
      : kept_(other.kept_), seen_(kept_.empty() ? other.seen_ : std::span<const Item>(kept_)) {}
  ListRef(ListRef&& other) noexcept : kept_(std::move(other.kept_)), seen_(std::exchange(other.seen_, {})) {}
  ListRef& operator=(ListRef other) noexcept {
    kept_ = std::move(other.kept_);
    seen_ = other.seen_;
    return *this;
  }

  bool empty() const { return seen_.empty(); }
  std::size_t size() const { return seen_.size(); }
  const Item* data() const { return seen_.data(); }
  const Item& operator[](std::size_t i) const { return seen_[i]; }
  auto begin() const { return seen_.begin(); }
  auto end() const { return seen_.end(); }

 private:
  void keep(std::vector<Item> list) {
    kept_ = std::move(list);
    seen_ = kept_;
  }

  std::vector<Item> kept_;
  std::span<const Item> seen_;
};

/// Tokens as rows, made implicitly from any row-major Eigen matrix, block or map. What has a name is not copied: the
/// tokens, ids and mask that it was made from must outlive it, which nothing can check. What has none (an expression, a
/// function's result, what std::move gives) it keeps: `batch.valid = std::vector<std::uint8_t>{1, 0}` is right.
template <class S>
struct Batch {
  static_assert(detail::ComputesIn<S>::is_known);
  RowsRef<S> x_TD;
  ListRef<std::int64_t> ids;    ///< One id a token (a vocabulary index, say), or empty. Hash gates need it.
  ListRef<std::uint8_t> valid;  ///< 1: a token, 0: padding; empty: all are tokens. Padding is routed nowhere, gets a
                                ///< zero row, and enters no loss and no statistic.
  Index group_size =
      0;  ///< Capacity is counted within groups of this many neighbouring rows; 0: all rows are one group.
  ListRef<Index> numbers;  ///< What messages call the tokens; empty: 0, 1, ... Set for a layer inside a layer.

  template <class Rows>
  requires(!std::is_same_v<std::remove_cvref_t<Rows>, Batch> && std::is_convertible_v<Rows&&, RowsRef<S>>)
      Batch(Rows&& x)  // NOLINT(google-explicit-constructor)
      : x_TD(std::forward<Rows>(x)) {}

  Index tokens() const { return x_TD.rows(); }
  Index groups() const { return group_size > 0 ? tokens() / group_size : Index{1}; }
  Index group_of(Index token) const { return group_size > 0 ? token / group_size : Index{0}; }
  Index number_of(Index token) const { return numbers.empty() ? token : numbers[static_cast<std::size_t>(token)]; }
  bool is_valid(Index token) const { return valid.empty() || valid[static_cast<std::size_t>(token)] != 0; }

  /// valid_T becomes 1 for each token and 0 for padding. Returns how many tokens there are.
  Index mark_tokens(std::vector<std::uint8_t>& valid_T) const {
    valid_T.resize(static_cast<std::size_t>(tokens()));
    Index count = 0;
    for (Index t = 0; t < tokens(); ++t) {
      const bool is_token = is_valid(t);
      valid_T[static_cast<std::size_t>(t)] = is_token ? 1 : 0;
      count += is_token ? 1 : 0;
    }
    return count;
  }

  /// Throws std::invalid_argument unless the lengths agree.
  void check() const {
    const auto rows = static_cast<std::size_t>(tokens());
    require(ids.empty() || ids.size() == rows, "Batch: ", ids.size(), " ids for ", rows, " tokens");
    require(valid.empty() || valid.size() == rows, "Batch: the padding mask has ", valid.size(), " entries for ", rows,
            " tokens");
    require(numbers.empty() || numbers.size() == rows, "Batch: ", numbers.size(), " numbers for ", rows, " tokens");
    require(group_size >= 0, "Batch: group_size is ", group_size, ", it must be 0 (one group) or more");
    require(group_size == 0 || tokens() % group_size == 0, "Batch: ", rows, " tokens do not divide into groups of ",
            group_size);
  }
};

MOE_NAMESPACE_END
