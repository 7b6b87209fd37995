// Element types of the safetensors format, and their counterparts in C++.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Element type of a tensor in a file; the names are those of the format.
enum class DType {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64
};

}  // namespace io

namespace detail {

struct DTypeRow {
  io::DType dtype;
  std::string_view name;
  unsigned bits;
};

// In the order of the enumeration, so that a row is found by its number.
inline constexpr std::array<DTypeRow, 22> dtype_rows{{
    {io::DType::BOOL, "BOOL", 8},
    {io::DType::F4, "F4", 4},
    {io::DType::F6_E2M3, "F6_E2M3", 6},
    {io::DType::F6_E3M2, "F6_E3M2", 6},
    {io::DType::U8, "U8", 8},
    {io::DType::I8, "I8", 8},
    {io::DType::F8_E5M2, "F8_E5M2", 8},
    {io::DType::F8_E4M3, "F8_E4M3", 8},
    {io::DType::F8_E8M0, "F8_E8M0", 8},
    {io::DType::F8_E4M3FNUZ, "F8_E4M3FNUZ", 8},
    {io::DType::F8_E5M2FNUZ, "F8_E5M2FNUZ", 8},
    {io::DType::I16, "I16", 16},
    {io::DType::U16, "U16", 16},
    {io::DType::F16, "F16", 16},
    {io::DType::BF16, "BF16", 16},
    {io::DType::I32, "I32", 32},
    {io::DType::U32, "U32", 32},
    {io::DType::F32, "F32", 32},
    {io::DType::C64, "C64", 64},
    {io::DType::F64, "F64", 64},
    {io::DType::I64, "I64", 64},
    {io::DType::U64, "U64", 64},
}};

constexpr bool dtype_rows_in_order() {
  for (std::size_t i = 0; i < dtype_rows.size(); ++i)
    if (static_cast<std::size_t>(dtype_rows[i].dtype) != i) return false;
  return true;
}
static_assert(dtype_rows_in_order());

constexpr const DTypeRow& dtype_row(io::DType dtype) { return dtype_rows[static_cast<std::size_t>(dtype)]; }

constexpr io::DType integer_dtype(std::size_t bytes, bool with_sign) {
  switch (bytes) {
    case 1:
      return with_sign ? io::DType::I8 : io::DType::U8;
    case 2:
      return with_sign ? io::DType::I16 : io::DType::U16;
    case 4:
      return with_sign ? io::DType::I32 : io::DType::U32;
    default:
      return with_sign ? io::DType::I64 : io::DType::U64;
  }
}

template <class S>
inline constexpr bool is_float_scalar = std::is_same_v<S, float> || std::is_same_v<S, double> ||
                                        std::is_same_v<S, Eigen::half> || std::is_same_v<S, Eigen::bfloat16>;

/// float, double, Eigen::half, Eigen::bfloat16 and the integers. Not bool: its bytes in a file may hold any value.
template <class S>
concept FileScalar = is_float_scalar<S> ||(std::is_integral_v<S> && !std::is_same_v<S, bool> && sizeof(S) <= 8);

}  // namespace detail

namespace io {

/// "F32", "BF16", ... as written in a file.
constexpr std::string_view dtype_name(DType dtype) { return moe::detail::dtype_row(dtype).name; }

/// Width of one element in bits: 4, 6, 8, 16, 32 or 64.
constexpr unsigned dtype_bits(DType dtype) { return moe::detail::dtype_row(dtype).bits; }

/// The type of that name; nothing for an unknown name (case matters).
constexpr std::optional<DType> dtype_from_name(std::string_view name) {
  for (const auto& row : moe::detail::dtype_rows)
    if (row.name == name) return row.dtype;
  return std::nullopt;
}

/// The type in which values of the C++ type S are stored, bit for bit.
template <moe::detail::FileScalar S>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<S, float>)
    return DType::F32;
  else if constexpr (std::is_same_v<S, double>)
    return DType::F64;
  else if constexpr (std::is_same_v<S, Eigen::half>)
    return DType::F16;
  else if constexpr (std::is_same_v<S, Eigen::bfloat16>)
    return DType::BF16;
  else
    return moe::detail::integer_dtype(sizeof(S), std::is_signed_v<S>);
}

}  // namespace io

MOE_NAMESPACE_END
