// Views of rows that a caller gives, and whether two of them share memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Memory that is there before what refers to it is made.
template <class S>
struct KeptRows {
  Matrix<S> kept;
};

/// Whether rows can be referred to where they lie; else they are an expression, or strided, and have to be evaluated.
template <class S, class Derived>
inline constexpr bool lies_as_rows = std::is_constructible_v<MatrixRef<S>, Derived&>;

}  // namespace detail

/// Rows from a caller, made implicitly: of row-major matrices, blocks and maps that have a name it is a view, nothing
/// is copied, and they must outlive it. A matrix that is moved in or has no name, and an expression's value, it keeps
/// itself, also where it is moved or copied. Not detected: a block or map of a matrix that is gone.
template <class S>
struct RowsRef : private detail::KeptRows<S>, ConstMatrixRef<S> {
  template <class Derived>
  RowsRef(const Eigen::MatrixBase<Derived>& rows)
      : detail::KeptRows<S>{value_of(rows.derived())}, ConstMatrixRef<S>(seen(rows.derived(), this->kept)) {}
  template <class Derived>
  RowsRef(Eigen::PlainObjectBase<Derived>&& rows)
      : detail::KeptRows<S>{moved(std::move(rows.derived()))}, ConstMatrixRef<S>(this->kept) {}
  template <class Derived>
  RowsRef(const Eigen::PlainObjectBase<Derived>&& rows) : RowsRef(Derived(rows.derived())) {}

  RowsRef(const RowsRef& other)
      : detail::KeptRows<S>(other), ConstMatrixRef<S>(other.kept.size() > 0 ? View(this->kept) : other.view()) {}
  RowsRef(RowsRef&& other) noexcept : detail::KeptRows<S>(std::move(other)), ConstMatrixRef<S>(other.view()) {}
  RowsRef& operator=(RowsRef other) noexcept {
    this->kept = std::move(other.kept);
    new (static_cast<View*>(this)) View(other.view());  // as Eigen's manual re-seats a Map
    return *this;
  }

 private:
  using View = ConstMatrixRef<S>;

  const View& view() const { return *this; }

  template <class Derived>
  static constexpr bool check_type() {
    static_assert(std::is_same_v<typename Derived::Scalar, S>,
                  "moe: the tokens' scalar type is not the layer's; use x.cast<S>(), S the layer's float or double");
    static_assert(Derived::IsRowMajor || Derived::IsVectorAtCompileTime,
                  "moe: tokens are rows of a row-major matrix; use moe::Matrix<S>");
    return std::is_same_v<typename Derived::Scalar, S>;  // else that sentence is enough
  }

  template <class Derived>
  static Matrix<S> value_of(const Derived& rows) {
    if constexpr (check_type<Derived>() && !detail::lies_as_rows<S, Derived>)
      return rows;
    else
      return {};
  }
  template <class Derived>
  static Matrix<S> moved(Derived&& rows) {
    if constexpr (check_type<Derived>())
      return std::move(rows);
    else
      return {};
  }
  template <class Derived>
  static const auto& seen(const Derived& rows, const Matrix<S>& kept) {
    if constexpr (detail::lies_as_rows<S, Derived>)
      return rows;
    else
      return kept;
  }
};

namespace detail {

/// Rows read and rows written whose scalar type another argument tells: plain matrices, blocks and maps convert.
template <class S>
using GivenRows = std::type_identity_t<RowsRef<S>>;
template <class S>
using WrittenRows = std::type_identity_t<MatrixRef<S>>;

/// Whether two views of rows have an entry in common; halves of one matrix, side by side, have none.
template <class S>
bool overlap(const ConstMatrixRef<S>& a, const ConstMatrixRef<S>& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  const auto address = [](const S* at) { return static_cast<std::intptr_t>(reinterpret_cast<std::uintptr_t>(at)); };
  const Index stride = (std::max)(b.rows() > 1 ? b.outerStride() : a.outerStride(), Index{1});
  // Whether rows first .. last of an endless b, whose row n begins n strides and `distance` after a row of a, meet it.
  const auto meets = [&](Index distance, Index first, Index last) {
    const Index before = -b.cols() - distance;  // row n ends before the row of a if n * stride <= before
    const Index next = before / stride + (before % stride < 0 ? 0 : 1);
    const Index n = (std::max)(first, next);
    return n <= last && distance + n * stride < a.cols();
  };
  const Index distance = (address(b.data()) - address(a.data())) / static_cast<Index>(sizeof(S));
  if (a.rows() == 1 || a.outerStride() == stride) return meets(distance, 1 - a.rows(), b.rows() - 1);
  for (Index i = 0; i < a.rows(); ++i)
    if (meets(distance - i * a.outerStride(), 0, b.rows() - 1)) return true;
  return false;
}

}  // namespace detail

MOE_NAMESPACE_END
