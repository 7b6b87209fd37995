// Which conversions between element types keep every value.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "moe/io/dtype.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// What reading may do to a value: `exact` refuses a narrower floating-point type and every integer that the target
/// cannot hold; `rounded` lets floating-point targets round, also to 0, but not from a finite number to infinity.
enum class Precision { exact, rounded };

/// What happens to values that are read as another type.
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
  using FromLimits = std::numeric_limits<From>;
  using ToLimits = std::numeric_limits<To>;
  if constexpr (std::is_same_v<From, To>)
    return io::Conversion::exact;
  else if constexpr (is_float_scalar<From> && !is_float_scalar<To>)
    return io::Conversion::impossible;
  else if constexpr (is_float_scalar<From>)
    return FromLimits::digits <= ToLimits::digits && FromLimits::max_exponent <= ToLimits::max_exponent &&
                   FromLimits::min_exponent >= ToLimits::min_exponent
               ? io::Conversion::exact
               : io::Conversion::rounds;
  else
    return FromLimits::digits <= ToLimits::digits && (ToLimits::is_signed || !FromLimits::is_signed) &&
                   (!is_float_scalar<To> || FromLimits::digits < ToLimits::max_exponent)
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

MOE_NAMESPACE_END
