// The standard's generator of 64-bit numbers, with a state that can be read, saved and set.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "moe/core/version.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The numbers of std::mt19937_64 (Nishimura 2000), which the standard fixes. What the standard leaves open is how the
/// state is written: two standard libraries write it differently. Here it is plain numbers, the same everywhere.
class MersenneTwister {
 public:
  static constexpr std::size_t size = 312;
  /// The words, then how many of them have been used; any number of `size` or more there: all.
  using State = std::array<std::uint64_t, size + 1>;
  static constexpr std::uint64_t(min)() { return 0; }
  static constexpr std::uint64_t(max)() { return ~std::uint64_t{0}; }

  explicit MersenneTwister(std::uint64_t seed) {
    state_[0] = seed;
    for (std::size_t i = 1; i < size; ++i)
      state_[i] = 6364136223846793005u * (state_[i - 1] ^ (state_[i - 1] >> 62)) + i;
    state_[size] = size;
  }

  std::uint64_t operator()() {
    if (state_[size] >= size) renew();
    std::uint64_t x = state_[static_cast<std::size_t>(state_[size]++)];
    x ^= (x >> 29) & 0x5555555555555555u;
    x ^= (x << 17) & 0x71d67fffeda60000u;
    x ^= (x << 37) & 0xfff7eee000000000u;
    return x ^ (x >> 43);
  }

  State& state() { return state_; }
  const State& state() const { return state_; }

 private:
  /// The next `size` words; each is made of its neighbour and of one that is 156 words further on.
  void renew() {
    constexpr std::uint64_t low = 0x7fffffffu;
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t joined = (state_[i] & ~low) | (state_[(i + 1) % size] & low);
      state_[i] = state_[(i + 156) % size] ^ (joined >> 1) ^ ((joined & 1) != 0 ? 0xb5026f5aa96619e9u : 0u);
    }
    state_[size] = 0;
  }

  State state_;
};

}  // namespace detail

MOE_NAMESPACE_END
