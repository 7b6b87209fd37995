// Chunk: a few values side by side. Activations, and all other work value by value, are written on chunks.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/packet.hpp"

MOE_NAMESPACE_BEGIN

/// panel_width (16) values of one scalar type. Operators and functions work on each value by itself, and have the names
/// that they have for Eigen::Array; a plain number stands for a chunk of equal values:
///
///     template <class S>
///     static moe::Chunk<S> value(const moe::Chunk<S>& x) { return x / (1 + x.abs()); }  // softsign
///
/// The values are kept as packets, and every value is computed by the same instructions, wherever in a chunk or a row
/// it stands: its bits depend on nothing but the inputs' own.
template <class S, class Places = std::make_integer_sequence<int, detail::PacketsOf<S>::packets>>
class Chunk;

template <class S, int... i>
class Chunk<S, std::integer_sequence<int, i...>> {
  using Packet = typename detail::PacketsOf<S>::Packet;
  static constexpr int lanes = detail::PacketsOf<S>::lanes, packets = sizeof...(i);
  struct Packets {
    Packet at[sizeof...(i)];
  };

 public:
  using Scalar = S;

  Chunk() = default;                  ///< Not initialised.
  EIGEN_ALWAYS_INLINE Chunk(S value)  // NOLINT(google-explicit-constructor)
      : packet_{{(static_cast<void>(i), Eigen::internal::pset1<Packet>(value))...}} {}

  /// The panel_width values at `from`.
  static EIGEN_ALWAYS_INLINE Chunk load(const S* from) {
    return Packets{{Eigen::internal::ploadu<Packet>(from + i * lanes)...}};
  }
  /// The first `count` (1 .. panel_width) values at `from`, the others `padding`.
  static EIGEN_ALWAYS_INLINE Chunk load(const S* from, Index count, S padding) {
    if (count == panel_width) return load(from);
    const Packet rest = Eigen::internal::pset1<Packet>(padding);
    const int own = static_cast<int>(count);
    return Packets{{detail::load_first(from + (i * lanes < own ? i * lanes : own), own - i * lanes, rest)...}};
  }
  EIGEN_ALWAYS_INLINE void store(S* to) const { (Eigen::internal::pstoreu(to + i * lanes, packet_.at[i]), ...); }

  /// One of the values. For tests and rare cases: it goes by way of memory.
  S operator[](Index place) const {
    S values[panel_width];
    store(values);
    return values[place];
  }

  friend EIGEN_ALWAYS_INLINE Chunk operator+(const Chunk& a, const Chunk& b) {
    return Packets{{Eigen::internal::padd<Packet>(a.packet_.at[i], b.packet_.at[i])...}};
  }
  friend EIGEN_ALWAYS_INLINE Chunk operator-(const Chunk& a, const Chunk& b) {
    return Packets{{Eigen::internal::psub<Packet>(a.packet_.at[i], b.packet_.at[i])...}};
  }
  friend EIGEN_ALWAYS_INLINE Chunk operator*(const Chunk& a, const Chunk& b) {
    return Packets{{Eigen::internal::pmul<Packet>(a.packet_.at[i], b.packet_.at[i])...}};
  }
  friend EIGEN_ALWAYS_INLINE Chunk operator/(const Chunk& a, const Chunk& b) {
    return Packets{{Eigen::internal::pdiv<Packet>(a.packet_.at[i], b.packet_.at[i])...}};
  }
  EIGEN_ALWAYS_INLINE Chunk operator-() const { return Packets{{Eigen::internal::pnegate(packet_.at[i])...}}; }
  EIGEN_ALWAYS_INLINE Chunk& operator+=(const Chunk& b) { return *this = *this + b; }
  EIGEN_ALWAYS_INLINE Chunk& operator-=(const Chunk& b) { return *this = *this - b; }
  EIGEN_ALWAYS_INLINE Chunk& operator*=(const Chunk& b) { return *this = *this * b; }
  EIGEN_ALWAYS_INLINE Chunk& operator/=(const Chunk& b) { return *this = *this / b; }

  /// `yes` where a < b; `no` elsewhere, and where a or b is NaN.
  friend EIGEN_ALWAYS_INLINE Chunk where_less(const Chunk& a, const Chunk& b, const Chunk& yes, const Chunk& no) {
    return Packets{
        {detail::packet_where_less<Packet>(a.packet_.at[i], b.packet_.at[i], yes.packet_.at[i], no.packet_.at[i])...}};
  }
  /// What comes of NaN is not defined.
  EIGEN_ALWAYS_INLINE Chunk(max)(const Chunk& b) const {
    return Packets{{Eigen::internal::pmax<Packet>(packet_.at[i], b.packet_.at[i])...}};
  }
  EIGEN_ALWAYS_INLINE Chunk(min)(const Chunk& b) const {
    return Packets{{Eigen::internal::pmin<Packet>(packet_.at[i], b.packet_.at[i])...}};
  }

  EIGEN_ALWAYS_INLINE Chunk square() const { return *this * *this; }
  EIGEN_ALWAYS_INLINE Chunk cube() const { return *this * (*this * *this); }
  EIGEN_ALWAYS_INLINE Chunk abs() const { return Packets{{Eigen::internal::pabs(packet_.at[i])...}}; }
  EIGEN_ALWAYS_INLINE Chunk inverse() const { return by<Eigen::internal::scalar_inverse_op<S>>(); }
  EIGEN_ALWAYS_INLINE Chunk exp() const { return by<Eigen::internal::scalar_exp_op<S>>(); }
  EIGEN_ALWAYS_INLINE Chunk log() const { return by<Eigen::internal::scalar_log_op<S>>(); }
  EIGEN_ALWAYS_INLINE Chunk log1p() const { return by<Eigen::internal::scalar_log1p_op<S>>(); }
  EIGEN_ALWAYS_INLINE Chunk tanh() const { return by<Eigen::internal::scalar_tanh_op<S>>(); }

  /// f of each value, one by one: for functions that have no packets.
  template <class F>
  Chunk unaryExpr(F&& f) const {
    S values[panel_width];
    store(values);
    for (S& value : values) value = f(value);
    return load(values);
  }

  /// Of all values, in an order that is always the same.
  EIGEN_ALWAYS_INLINE S sum() const { return Eigen::internal::predux(sum_of<0, packets>()); }
  /// The largest value. What comes of NaN is not defined.
  EIGEN_ALWAYS_INLINE S maxCoeff() const { return Eigen::internal::predux_max(max_of<0, packets>()); }

 private:
  EIGEN_ALWAYS_INLINE Chunk(const Packets& packet) : packet_(packet) {}

  /// By one of Eigen's functions of scalars, and its packets where it has them.
  template <class Function>
  EIGEN_ALWAYS_INLINE Chunk by() const {
    const Function f{};
    if constexpr (Eigen::internal::functor_traits<Function>::PacketAccess != 0)
      return Packets{{f.packetOp(packet_.at[i])...}};
    else
      return unaryExpr(f);
  }

  template <int first, int count>
  EIGEN_ALWAYS_INLINE Packet sum_of() const {
    if constexpr (count == 1)
      return packet_.at[first];
    else
      return Eigen::internal::padd<Packet>(sum_of<first, count / 2>(), sum_of<first + count / 2, count / 2>());
  }
  template <int first, int count>
  EIGEN_ALWAYS_INLINE Packet max_of() const {
    if constexpr (count == 1)
      return packet_.at[first];
    else
      return Eigen::internal::pmax<Packet>(max_of<first, count / 2>(), max_of<first + count / 2, count / 2>());
  }

  Packets packet_;
};

namespace detail {

/// The first `count` (1 .. panel_width) values at `from`, the others `padding`.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> load_chunk(const S* from, Index count, S padding) {
  return Chunk<S>::load(from, count, padding);
}

template <class S>
EIGEN_ALWAYS_INLINE void store_chunk(const Chunk<S>& chunk, S* to, Index count) {
  if (count == panel_width) return chunk.store(to);
  S values[panel_width];
  chunk.store(values);
  copy_part<static_cast<int>(panel_width) / 2>(values, to, static_cast<int>(count));
}

/// 1 in the first `count` (0 .. panel_width) places, 0 in the others.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> first_ones(Index count) {
  static constexpr S ones[2 * panel_width] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};  // and as many zeros
  return Chunk<S>::load(ones + panel_width - count);
}

}  // namespace detail

MOE_NAMESPACE_END
