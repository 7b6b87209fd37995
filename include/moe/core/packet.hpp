// What one packet is: the values of a scalar type that one instruction of the processor works on. Eigen knows it for
// every instruction set; a scalar type without packets (long double) has packets of one value.
#pragma once

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
struct PacketsOf {
  using Packet = typename Eigen::internal::packet_traits<S>::type;
  static constexpr int lanes = Eigen::internal::unpacket_traits<Packet>::size;  ///< Values in a packet.
  static constexpr int packets = static_cast<int>(panel_width) / lanes;         ///< Packets of panel_width values.
  static_assert(panel_width % lanes == 0, "moe: packets of more than panel_width values are not supported");
};

/// In each lane `yes` where a < b; `no` elsewhere, and where a or b is NaN.
template <class Packet>
EIGEN_ALWAYS_INLINE Packet packet_where_less(const Packet& a, const Packet& b, const Packet& yes, const Packet& no) {
  if constexpr (Eigen::internal::unpacket_traits<Packet>::size == 1) {
    return a < b ? yes : no;
  } else {
    // The compiler's own operator, where it has one that works lane by lane. Eigen's masks are vectors: with AVX-512
    // they are made from a mask register and turned back into one, and g++ 12 keeps both steps.
    if constexpr (requires { a < b ? yes : no; })
      if constexpr (sizeof(a < b) == sizeof(a)) return a < b ? yes : no;
    return Eigen::internal::pselect(Eigen::internal::pcmp_lt(a, b), yes, no);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
