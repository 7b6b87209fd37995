// Randomness is an argument: nothing in the library draws a number unless it was given a `Random` (or, for initial
// values, the caller's generator). Bits are those of the standard's generators; how numbers are made of them is written
// here, because the standard's distributions differ from one standard library to the next.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/mersenne_twister.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class Generator>
std::uint64_t random_bits(Generator& generator) {
  constexpr std::uint64_t range = (Generator::max)() - (Generator::min)();
  static_assert(range == ~std::uint64_t{0} || range == ~std::uint32_t{0},
                "moe: the random generator must deliver 32 or 64 full bits, as std::mt19937 and std::mt19937_64 do");
  if constexpr (range == ~std::uint64_t{0}) {
    return generator();
  } else {
    const std::uint64_t high = generator();
    return (high << 32) | static_cast<std::uint64_t>(generator());
  }
}

/// Uniform in [0, 1), 53 bits.
template <class Generator>
double random_uniform(Generator& generator) {
  return static_cast<double>(random_bits(generator) >> 11) * 0x1.0p-53;
}

/// Standard normal (Box and Muller 1958); two uniforms a draw.
template <class Generator>
double random_normal(Generator& generator) {
  const double radius = std::sqrt(-2 * std::log1p(-random_uniform(generator)));
  return radius * std::cos(2 * std::numbers::pi * random_uniform(generator));
}

/// Uniform in 0 .. count - 1.
template <class Generator>
Index random_index(Generator& generator, Index count) {
  return static_cast<Index>(random_uniform(generator) * static_cast<double>(count));
}

template <class Generator, class M>
void fill_normal(Generator& generator, double stddev, M& matrix) {
  using S = typename M::Scalar;
  for (Index i = 0; i < matrix.size(); ++i) matrix.data()[i] = static_cast<S>(stddev * random_normal(generator));
}

}  // namespace detail

/// A matrix of independent normal numbers, row by row.
template <class S, class Generator>
Matrix<S> random_matrix(Index rows, Index columns, Generator& generator, double stddev = 1) {
  require(rows >= 0 && columns >= 0, "random_matrix: ", rows, " x ", columns);
  Matrix<S> matrix(rows, columns);
  detail::fill_normal(generator, stddev, matrix);
  return matrix;
}

/// The randomness of forward passes: drawn from a seed, or played back from a record. Draws are made in one thread, in
/// the order in which each part documents them, so results do not depend on the number of threads. It is a uniform
/// random bit generator (the numbers of std::mt19937_64), so the standard's distributions and std::shuffle take it too.
///
/// Its state is a buffer: io::save and io::load keep it, alone, in a tape or in a model, so that a training run that is
/// saved and resumed draws on where it stopped. The state is plain numbers, the same on every platform. Of one that
/// plays back it is the record; the seeds that it gives to parts are not in it.
class Random {
 public:
  using result_type = std::uint64_t;

  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// Plays back draws made elsewhere, whatever their distribution: this is how the results of another system, or of an
  /// earlier run, are reproduced. Throws std::invalid_argument when they are used up.
  static Random recorded(std::vector<double> draws) {
    Random random(0);
    random.record_ = std::move(draws);
    random.plays_back_ = true;
    return random;
  }

  /// Uniform in [0, 1).
  double uniform() { return plays_back_ ? next_recorded() : detail::random_uniform(engine_); }

  /// Standard normal.
  double normal() { return plays_back_ ? next_recorded() : detail::random_normal(engine_); }

  /// Standard Gumbel.
  double gumbel() { return plays_back_ ? next_recorded() : -std::log(-std::log1p(-detail::random_uniform(engine_))); }

  static constexpr result_type(min)() { return 0; }
  static constexpr result_type(max)() { return (std::numeric_limits<result_type>::max)(); }

  /// 64 random bits. Throws std::invalid_argument when playing back: a record holds numbers, not bits.
  result_type operator()() {
    require(!plays_back_, "Random::recorded: recorded draws are numbers, they have no random bits");
    return engine_();
  }

  /// A seed for a part that needs a generator of its own (an expert that is itself a layer).
  std::uint64_t seed() { return engine_(); }

  /// "state", 313 numbers; of one that plays back "record", its draws, and "next", how many of them are used up.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((self.plays_back_ || ...)) {
      visit_numbers("record", f, self.record_...);
      visit_numbers("next", f, self.next_...);
    } else {
      visit_numbers("state", f, self.engine_.state()...);
    }
  }

 private:
  double next_recorded() {
    require(next_ < record_.size(), "Random::recorded: all ", record_.size(), " recorded draws are used up");
    return record_[static_cast<std::size_t>(next_++)];
  }

  detail::MersenneTwister engine_;
  std::vector<double> record_;
  std::uint64_t next_ = 0;
  bool plays_back_ = false;
};

MOE_NAMESPACE_END
