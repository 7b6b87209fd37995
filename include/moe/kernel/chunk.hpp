// Element-wise work in chunks of sixteen. A chunk is a fixed-size array, which Eigen turns into packet code with no
// scalar left-overs, and the last, partial one is padded: so the bits of an element depend on its value alone, not on
// where it lies. Eigen's dynamic-size expressions do not promise that, since left-overs take the scalar function.
#pragma once

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr int chunk_size = 16;

template <class S>
struct PacketsOf {
  using Packet = typename Eigen::internal::packet_traits<S>::type;
  static constexpr int lanes = Eigen::internal::unpacket_traits<Packet>::size;
};

template <class S>
using Chunk = Eigen::Array<S, chunk_size, 1>;

/// Fewer than sixteen values, by runs of 8, 4, 2 and 1.
template <class S, int run = chunk_size / 2>
void copy_part(const S* from, S* to, Index count) {
  if ((count & run) != 0) {
    using Run = Eigen::Array<S, run, 1>;
    Eigen::Map<Run>{to} = Eigen::Map<const Run>(from);
    from += run, to += run;
  }
  if constexpr (run > 1) copy_part<S, run / 2>(from, to, count);
}

/// The first `count` (1 .. 16) values at `from`, the rest filled with `padding`.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> load_chunk(const S* from, Index count, S padding) {
  if (count == chunk_size) return Eigen::Map<const Chunk<S>>(from);
  Chunk<S> chunk = Chunk<S>::Constant(padding);
  copy_part(from, chunk.data(), count);
  return chunk;
}

/// 1 in the first `count` (0 .. 16) places, 0 in the rest.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> first_ones(Index count) {
  static constexpr S ones[2 * chunk_size] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};  // and as many zeros
  return Eigen::Map<const Chunk<S>>(ones + chunk_size - count);
}

template <class S>
EIGEN_ALWAYS_INLINE void store_chunk(const Chunk<S>& chunk, S* to, Index count) {
  if (count == chunk_size) {
    Eigen::Map<Chunk<S>>{to} = chunk;
  } else {
    copy_part(chunk.data(), to, count);
  }
}

/// f from packets to a packet, on each of the chunks' packets: for what Eigen's expressions do value by value (select).
template <class S, class F, class... In>
EIGEN_ALWAYS_INLINE Chunk<S> map_packets(F&& f, const In&... in) {
  using Packets = PacketsOf<S>;
  Chunk<S> out;
  for (int i = 0; i < chunk_size; i += Packets::lanes)
    Eigen::internal::pstoreu(out.data() + i, f(Eigen::internal::ploadu<typename Packets::Packet>(in.data() + i)...));
  return out;
}

/// Where a < b: yes; elsewhere, and where one of the two is NaN: no.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> where_less(const Chunk<S>& a, const Chunk<S>& b, const Chunk<S>& yes, const Chunk<S>& no) {
  if constexpr (Eigen::internal::packet_traits<S>::Vectorizable)
    return map_packets<S>(
        [](const auto& pa, const auto& pb, const auto& py, const auto& pn) {
          // The compiler's own, where it has one: Eigen's masks are vectors, which with AVX-512 are made from a mask
          // and turned back into one; g++ 12 keeps that, and a loop of it runs four times as long.
          if constexpr (requires { pa < pb ? py : pn; })
            if constexpr (sizeof(pa < pb) == sizeof(pa)) return pa < pb ? py : pn;  // value by value
          return Eigen::internal::pselect(Eigen::internal::pcmp_lt(pa, pb), py, pn);
        },
        a, b, yes, no);
  else
    return (a < b).select(yes, no);
}

/// Calls f(begin, count) for each chunk of 0 .. size - 1.
template <class F>
EIGEN_ALWAYS_INLINE void for_each_chunk(Index size, F&& f) {
  Index begin = 0;
  for (; begin + chunk_size <= size; begin += chunk_size) f(begin, Index{chunk_size});
  if (begin < size) f(begin, size - begin);
}

/// out[i] = f(in[i]...), f from chunks to a chunk. `out` may be one of the inputs.
template <class S, class F, class... In>
void map_chunks(Index size, S* out, F&& f, const In*... in) {
  for_each_chunk(size, [&](Index begin, Index count) {
    const Chunk<S> result = f(load_chunk(in + begin, count, S(0))...);
    store_chunk<S>(result, out + begin, count);
  });
}

}  // namespace detail

MOE_NAMESPACE_END
