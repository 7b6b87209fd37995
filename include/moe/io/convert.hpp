// From the bytes of a file to values of a C++ type.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "moe/io/conversion.hpp"
#include "moe/io/dtype.hpp"
#include "moe/io/file_error.hpp"

static_assert(std::endian::native == std::endian::little,
              "moe::io reads and writes little-endian values in place: a big-endian host is not supported");

MOE_NAMESPACE_BEGIN

namespace detail {

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

/// Converts n elements of dtype, whose bytes these are, into the n values of out. The same type is copied bit for bit,
/// NaN payloads and denormals included. Returns the number of the first value that S does not hold, n if it holds all:
/// an integer (see Precision), or a finite number that would become infinite. Requires: conversion_to<S>(dtype) is not
/// impossible.
template <FileScalar S>
std::size_t decode(io::DType dtype, std::span<const std::byte> bytes, S* out, io::Precision precision) {
  std::size_t i = 0;
  with_dtype(dtype, [&]<class From>(From) {
    const std::size_t count = bytes.size() / sizeof(From);
    if constexpr (std::is_same_v<From, S>) {
      if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
      i = count;
    } else if constexpr (conversion_between<From, S>() != io::Conversion::impossible) {
      constexpr bool is_exact = conversion_between<From, S>() == io::Conversion::exact;
      for (; i < count; ++i) {
        From value;
        std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
        out[i] = static_cast<S>(value);
        if constexpr (!is_exact)
          if (!survives(value, out[i], precision)) return;
      }
    }
  });
  return i;
}

/// Throws io::FileError if values of the dtype are not to be read as S; `source` and `name` tell of which tensor.
template <FileScalar S>
void require_conversion(std::string_view source, std::string_view name, io::DType dtype, io::Precision precision) {
  const io::Conversion conversion = io::conversion_to<S>(dtype);
  if (conversion == io::Conversion::impossible)
    fail_io(source, ": tensor ", in_quotes(name), ": ", io::dtype_name(dtype), " values cannot be read as ",
            io::dtype_name(io::dtype_of<S>()));
  if (conversion == io::Conversion::rounds && precision == io::Precision::exact)
    fail_io(source, ": tensor ", in_quotes(name), ": reading ", io::dtype_name(dtype), " values as ",
            io::dtype_name(io::dtype_of<S>()), " would round them; Precision::rounded allows it");
}

/// decode, after require_conversion. Throws io::FileError at the first value that S does not hold.
template <FileScalar S>
void checked_decode(std::string_view source, std::string_view name, io::DType dtype, std::span<const std::byte> bytes,
                    S* out, io::Precision precision) {
  const std::size_t fitting = decode(dtype, bytes, out, precision);
  if (fitting < bytes.size() * 8 / io::dtype_bits(dtype))
    fail_io(source, ": tensor ", in_quotes(name), ": value ", fitting, ", counted from 0, is a ", io::dtype_name(dtype),
            " that does not fit ", io::dtype_name(io::dtype_of<S>()));
}

}  // namespace detail

MOE_NAMESPACE_END
