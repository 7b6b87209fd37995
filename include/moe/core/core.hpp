// The words that every other header uses: index and matrix types, the letters of the shapes, and the checks of the
// public edge.
//
// Letters, as suffixes of names wherever a matrix appears (`x_TD`, `logits_TE`, `w1_FD`):
//   T tokens   D model width   F hidden width   E experts   K choices per token   C capacity per expert
//   N filled slots, that is routed token-expert pairs that were not dropped   O output width of an expert, D as a rule
// Tokens are rows; matrices are row-major; a weight matrix is (out, in).
#pragma once

#include "moe/core/version.hpp"  // first: an older language is refused before anything else is read

#include <Eigen/Core>
#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "moe needs Eigen 3.4 or newer"
#endif

MOE_NAMESPACE_BEGIN

using Index = Eigen::Index;

/// Row-major matrix of any size: a token is contiguous.
template <class S>
using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class S>
using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;

/// A view of rows: any row-major matrix, block of rows or columns, or map whose inner stride is 1.
template <class S>
using ConstMatrixRef = Eigen::Ref<const Matrix<S>, 0, Eigen::OuterStride<>>;

/// The same, to write into.
template <class S>
using MatrixRef = Eigen::Ref<Matrix<S>, 0, Eigen::OuterStride<>>;

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

/// What every part on a scalar type asserts; one sentence for each type that will not do.
template <class S>
struct ComputesIn {
  static_assert(std::is_floating_point_v<S> && sizeof(S) >= sizeof(float),
                "moe: layers and their parts compute in float or double; this scalar type is another (files may hold "
                "narrower ones: moe/io/)");
  static constexpr bool is_known = true;
};

/// Rows read and rows written whose scalar type another argument tells: plain matrices, blocks and maps convert.
template <class S>
using GivenRows = std::type_identity_t<RowsRef<S>>;
template <class S>
using WrittenRows = std::type_identity_t<MatrixRef<S>>;

/// S, or, where nobody named one, the scalar type of these rows.
template <class S, class Rows>
using NamedOrOwnScalar = std::conditional_t<std::is_void_v<S>, typename Rows::Scalar, S>;

[[noreturn]] inline void throw_invalid_argument(const std::string& message) {
#ifdef __cpp_exceptions
  throw std::invalid_argument(message);
#else
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
#endif
}

inline void append(std::string& text, std::string_view part) { text += part; }

/// The bits of a number, without its sign. Under -ffast-math a compiler may take x != x for false, and a test of the
/// bits for that same test: so it is kept from knowing where the bits come from.
template <class S>
auto magnitude_bits(const S& value) {
  using Bits = std::conditional_t<sizeof(S) == 4, std::uint32_t, std::uint64_t>;
  auto bits = static_cast<Bits>(std::bit_cast<Bits>(value) & (~Bits(0) >> 1));
#if defined(__GNUC__) && __FINITE_MATH_ONLY__
  asm("" : "+r"(bits));
#endif
  return bits;
}

template <class S>
inline constexpr bool has_known_bits = std::is_same_v<S, float> || std::is_same_v<S, double>;

template <class S>
inline constexpr auto bits_of_infinity = sizeof(S) == 4 ? 0x7f800000u : 0x7ff0000000000000u;

/// NaN, seen by its bits.
template <class S>
bool has_nan_bits(const S& value) {
  if constexpr (has_known_bits<S>)
    return magnitude_bits(value) > bits_of_infinity<S>;
  else
    return value != value;
}

/// Neither NaN nor infinite, seen by the bits.
template <class S>
bool has_finite_bits(const S& value) {
  if constexpr (has_known_bits<S>)
    return magnitude_bits(value) < bits_of_infinity<S>;
  else
    return value - value == S(0);
}

/// Less than 0, or -0, seen by the bits.
template <class S>
bool has_sign_bit(const S& value) {
  if constexpr (std::is_same_v<S, float>)
    return (std::bit_cast<std::uint32_t>(value) >> 31) != 0;
  else if constexpr (std::is_same_v<S, double>)
    return (std::bit_cast<std::uint64_t>(value) >> 63) != 0;
  else
    return value < S(0);
}

/// A number as programs read it, whatever the program's locale: floating point with so many significant digits. Under
/// -ffast-math a compiler may drop a check whose message would hand NaN or an infinity to another function as a value:
/// so these are told by their bits, behind a reference.
template <class Number>
requires std::is_arithmetic_v<Number>
void append(std::string& text, const Number& part, int digits = 6) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!has_finite_bits(part)) {
      text += has_nan_bits(part) ? "nan" : has_sign_bit(part) ? "-inf" : "inf";
      return;
    }
  }
  char room[64];
  std::to_chars_result written{};
  if constexpr (std::is_floating_point_v<Number>)
    written = std::to_chars(room, std::end(room), part, std::chars_format::general, digits);
  else
    written = std::to_chars(room, std::end(room), +part);  // a bool as 0 or 1
  text.append(room, written.ptr);
}

/// The parts, one after the other; floating point with so many significant digits, as a stream's precision asks for.
template <class... Parts>
std::string joined_to(std::ptrdiff_t digits, const Parts&... parts) {
  std::string text;
  const auto add = [&](const auto& part) {
    if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(part)>>)
      append(text, part, static_cast<int>(digits));
    else
      append(text, part);
  };
  (add(parts), ...);
  return text;
}

/// The same with six digits.
template <class... Parts>
std::string joined(const Parts&... parts) {
  return joined_to(6, parts...);
}

/// Always on: refuses what is wrong at the public edge, with the numbers in the message.
/// Throws: std::invalid_argument; without exceptions, prints the message and aborts.
template <class... Parts>
void require(bool holds, const Parts&... parts) {
  if (holds) [[likely]]
    return;
  throw_invalid_argument(joined("moe: ", parts...));
}

/// float is the narrowest type that it may be rounded to.
inline void require_temperature(std::string_view what, double temperature) {
  constexpr double least = (std::numeric_limits<float>::min)(), most = (std::numeric_limits<float>::max)();
  require(has_finite_bits(temperature) && temperature >= least && temperature <= most, what, ": temperature is ",
          temperature, ", it must be finite and more than 0, as float too");
}

template <class M>
void require_shape(std::string_view what, const M& matrix, Index rows, Index columns) {
  require(matrix.rows() == rows && matrix.cols() == columns, what, " is ", matrix.rows(), " x ", matrix.cols(),
          ", it must be ", rows, " x ", columns);
}

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
