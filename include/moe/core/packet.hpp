// What one packet is: the values of a scalar type that one instruction of the processor works on. Eigen knows it for
// every instruction set; a scalar type without packets (long double) has packets of one value.
#pragma once

#include <cstddef>
#include <cstring>

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

/// Fewer values than twice `run`, by runs of `run`, half of it, ... 1.
template <int run, class S>
void copy_part(const S* from, S* to, int count) {
  if ((count & run) != 0) {
    std::memcpy(to, from, std::size_t{run} * sizeof(S));
    from += run, to += run;
  }
  if constexpr (run > 1) copy_part<run / 2>(from, to, count);
}

/// The first `count` values at `from`, `rest` in the lanes behind them, none or all of them too; no other value is
/// read.
template <class Packet, class S>
EIGEN_ALWAYS_INLINE Packet load_first(const S* from, int count, const Packet& rest) {
  constexpr int lanes = Eigen::internal::unpacket_traits<Packet>::size;
  if (count <= 0) return rest;
  if (count >= lanes) return Eigen::internal::ploadu<Packet>(from);
  S values[std::size_t{lanes}];
  Eigen::internal::pstoreu(values, rest);
  copy_part<lanes / 2>(from, values, count);
  return Eigen::internal::ploadu<Packet>(values);
}

// By a masked load, where there is one: a load of what was just stored in parts waits until all of these are written.
#if defined(EIGEN_VECTORIZE_AVX512)
EIGEN_ALWAYS_INLINE __m512 load_first(const float* from, int count, const __m512& rest) {
  return _mm512_mask_loadu_ps(rest, static_cast<__mmask16>((1u << count) - 1), from);
}
EIGEN_ALWAYS_INLINE __m512d load_first(const double* from, int count, const __m512d& rest) {
  const int own = count < 0 ? 0 : count < 8 ? count : 8;
  return _mm512_mask_loadu_pd(rest, static_cast<__mmask8>((1u << own) - 1), from);
}
#elif defined(EIGEN_VECTORIZE_AVX2)
EIGEN_ALWAYS_INLINE __m256 load_first(const float* from, int count, const __m256& rest) {
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_blendv_ps(rest, _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask));
}
EIGEN_ALWAYS_INLINE __m256d load_first(const double* from, int count, const __m256d& rest) {
  const __m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
  return _mm256_blendv_pd(rest, _mm256_maskload_pd(from, mask), _mm256_castsi256_pd(mask));
}
#endif

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
