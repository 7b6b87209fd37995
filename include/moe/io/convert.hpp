// From the bytes of a file to values of a C++ type: which conversions keep every value, and the conversion itself.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include "moe/io/dtype.hpp"

static_assert(std::endian::native == std::endian::little,
              "moe::io reads and writes little-endian values in place: a big-endian host is not supported");

MOE_NAMESPACE_BEGIN

namespace io {

/// What reading may do to a value: `exact` refuses a narrower floating-point type and every integer that the target
/// cannot hold; `rounded` lets floating-point targets round, also to 0, but not from a finite number to infinity.
enum class Precision { exact, rounded };

/// How one element type goes over into another.
enum class Conversion {
  exact,      ///< every value survives
  rounds,     ///< floating point to a type of fewer digits or smaller range
  by_value,   ///< integers: survives if the value lies in the range in which the target holds every integer
  impossible  ///< floating point to integer, or a type without a counterpart in C++
};

}  // namespace io

namespace detail {

template <class From, class To>
constexpr io::Conversion conversion_between() {
  using of = std::numeric_limits<From>;
  using to = std::numeric_limits<To>;
  if constexpr (std::is_same_v<From, To>)
    return io::Conversion::exact;
  else if constexpr (is_float_scalar<From> && !is_float_scalar<To>)
    return io::Conversion::impossible;
  else if constexpr (is_float_scalar<From>)
    return of::digits <= to::digits && of::max_exponent <= to::max_exponent && of::min_exponent >= to::min_exponent
               ? io::Conversion::exact
               : io::Conversion::rounds;
  else
    return of::digits <= to::digits && (to::is_signed || !of::is_signed) &&
                   (!is_float_scalar<To> || of::digits < to::max_exponent)
               ? io::Conversion::exact
               : io::Conversion::by_value;
}

/// Calls f(From{}) with a value of the C++ counterpart of dtype; false if it has none.
template <class F>
bool with_dtype(io::DType dtype, F&& f) {
  using io::DType;
  switch (dtype) {
    case DType::F64:
      return f(double{}), true;
    case DType::F32:
      return f(float{}), true;
    case DType::F16:
      return f(Eigen::half{}), true;
    case DType::BF16:
      return f(Eigen::bfloat16{}), true;
    case DType::I64:
      return f(std::int64_t{}), true;
    case DType::I32:
      return f(std::int32_t{}), true;
    case DType::I16:
      return f(std::int16_t{}), true;
    case DType::I8:
      return f(std::int8_t{}), true;
    case DType::U64:
      return f(std::uint64_t{}), true;
    case DType::U32:
      return f(std::uint32_t{}), true;
    case DType::U16:
      return f(std::uint16_t{}), true;
    case DType::U8:
    case DType::BOOL:
      return f(std::uint8_t{}), true;
    default:
      return false;
  }
}

/// Whether To holds this integer and every integer between it and zero.
template <class To, class From>
constexpr bool holds_integer(From value) {
  if constexpr (!is_float_scalar<To>) {
    return std::in_range<To>(value);
  } else {
    constexpr int digits = std::numeric_limits<To>::digits;
    if constexpr (std::numeric_limits<From>::digits <= digits) {
      return true;
    } else {
      constexpr auto bound = static_cast<From>(From{1} << digits);
      return value <= bound && (std::is_unsigned_v<From> || value >= static_cast<From>(From{0} - bound));
    }
  }
}

}  // namespace detail

namespace io {

/// How elements of dtype become values of type S.
template <moe::detail::FileScalar S>
Conversion conversion_to(DType dtype) {
  Conversion result = Conversion::impossible;
  moe::detail::with_dtype(dtype, [&]<class From>(From) { result = moe::detail::conversion_between<From, S>(); });
  return result;
}

}  // namespace io

namespace detail {

/// Whether To holds the number as it was read into `to`: an integer exactly, unless precision lets it round, and
/// nothing finite as an infinity.
template <class From, class To>
bool survives(From from, To to, io::Precision precision) {
  if constexpr (is_float_scalar<To>) {
    const auto is_finite = [](auto value) {
      if constexpr (std::is_same_v<decltype(value), double>)
        return has_finite_bits(value);
      else
        return has_finite_bits(static_cast<float>(value));
    };
    if (!is_finite(to)) {
      if constexpr (is_float_scalar<From>)
        return !is_finite(from);
      else
        return false;
    }
  }
  if constexpr (!is_float_scalar<From>)
    return (is_float_scalar<To> && precision == io::Precision::rounded) || holds_integer<To>(from);
  else
    return true;
}

/// Converts bytes (bits: n elements of dtype) into out (n values). The same type is copied bit for bit, NaN payloads
/// and denormals included. Returns the number of the first value that S does not hold, n if it holds all: an integer
/// (see Precision), or a finite number that would become infinite.
/// Requires: conversion_to<S>(dtype) is not impossible.
template <FileScalar S>
std::size_t decode(io::DType dtype, std::span<const std::byte> bytes, S* out, io::Precision precision) {
  std::size_t i = 0;
  with_dtype(dtype, [&]<class From>(From) {
    const std::size_t count = bytes.size() / sizeof(From);
    if constexpr (std::is_same_v<From, S>) {
      if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
      i = count;
    } else if constexpr (conversion_between<From, S>() != io::Conversion::impossible) {
      for (; i < count; ++i) {
        From value;
        std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
        out[i] = static_cast<S>(value);
        if (!survives(value, out[i], precision)) return;
      }
    }
  });
  return i;
}

}  // namespace detail

MOE_NAMESPACE_END
