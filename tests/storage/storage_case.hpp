// What holds for every storage of fewer bits, against plain numbers.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/expect_invalid.hpp"
#include "support/random_model.hpp"

namespace storage_case {

using moe::Index;
using moe::Matrix;
using support::same_bits;

inline Matrix<float> random_plain(Index rows, Index cols, std::uint64_t seed) {
  std::mt19937_64 rng{seed};
  return support::random_matrix<float>(rows, cols, rng);
}

template <class W>
Matrix<float> times(const Matrix<float>& x, const W& w) {
  Matrix<float> y(x.rows(), w.rows());
  moe::detail::panels_forward<float>(x, w, moe::Vector<float>(), y, 0, w.rows());
  return y;
}

/// The product has the bits of that with plain weights of the same numbers, which a loop in double gives to rounding.
template <class W>
void expect_product_of_decoded(Index rows, Index inputs, Index outputs) {
  const W w(random_plain(outputs, inputs, 1));
  const Matrix<float> x = random_plain(rows, inputs, 2), decoded = w.matrix(), y = times(x, w);
  EXPECT_TRUE(same_bits(y, times(x, moe::Weights<float>(decoded)))) << rows << " x " << inputs << " -> " << outputs;
  for (Index n = 0; n < rows; ++n)
    for (Index o = 0; o < outputs; ++o) {
      double sum = 0, size = 0;
      for (Index i = 0; i < inputs; ++i) {
        const double term = double(x(n, i)) * double(decoded(o, i));
        sum += term, size += std::abs(term);
      }
      ASSERT_NEAR(double(y(n, o)), sum, 1e-5 * size) << rows << " x " << inputs << " -> " << outputs;
    }
}

template <class W>
void expect_products() {
  for (Index size = 1; size <= 70; ++size) expect_product_of_decoded<W>(size % 9 + 1, size, 71 - size);
  for (const Index inputs : {255, 256, 257, 1600})
    for (const Index rows : {1, 2, 3, 5, 7, 13, 20}) expect_product_of_decoded<W>(rows, inputs, 33);
  expect_product_of_decoded<W>(300, 40, 20);
  EXPECT_EQ(times(random_plain(0, 5, 1), W(random_plain(3, 5, 2))).rows(), 0);
}

template <class W>
void expect_value() {
  const Matrix<float> plain = random_plain(37, 45, 3);
  const W w(plain), same(moe::Weights<float>{plain}), empty;
  EXPECT_EQ(w.rows(), 37);
  EXPECT_EQ(w.cols(), 45);
  EXPECT_EQ(w.size(), 37 * 45);
  EXPECT_EQ(empty.size() + empty.bytes() + empty.matrix().size(), 0);
  EXPECT_TRUE(w == same);
  EXPECT_FALSE(w == W(random_plain(37, 45, 4)));
  EXPECT_FALSE(w == W(random_plain(45, 37, 3)));
  const Matrix<float> decoded = w.matrix();
  EXPECT_EQ(w(0, 0), decoded(0, 0));
  EXPECT_EQ(w(36, 44), decoded(36, 44));
  EXPECT_EQ(w(17, 3), decoded(17, 3));
  EXPECT_TRUE(same_bits(W(decoded).matrix(), decoded)) << "numbers of the format stay what they are";
  EXPECT_TRUE(W(Matrix<float>::Zero(20, 70)).matrix().isZero(0));
}

template <class W>
void expect_only_finite() {
  for (const float odd : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Matrix<float> plain = random_plain(20, 40, 3);
    plain(18, 33) = odd;
    support::expect_invalid([&] { W{plain}; }, {"weight (18, 33)", "does not hold"});
  }
}

/// The whole of a feed-forward network, against float: relative to its outputs.
template <class W, class X>
double error_of(Index width, Index hidden, Index tokens) {
  std::mt19937_64 rng{5};
  const X expert = X::random(width, hidden, rng);
  const auto fast = moe::quantized<W>(expert);
  const Matrix<float> x = random_plain(tokens, width, 6);
  Matrix<float> y(tokens, width), fast_y(tokens, width);
  typename X::Tape tape;
  expert.forward(x, y, tape);
  typename decltype(fast)::Tape fast_tape;
  fast.forward(x, fast_y, fast_tape);
  return double((y - fast_y).norm() / y.norm());
}
template <class W>
void expect_error_of_experts(double most) {
  EXPECT_LE((error_of<W, moe::SwiGlu<float>>(160, 256, 24)), most);
  EXPECT_LE((error_of<W, moe::ClampedSwiGlu<float>>(160, 256, 24)), most);
  EXPECT_LE((error_of<W, moe::Mlp<float>>(160, 256, 24)), most);
}

/// Bits of a token depend neither on its neighbours nor on threads, and are those of the layer of decoded weights.
template <class W, class X>
void expect_one_result() {
  constexpr Index width = 65, hidden = 150, tokens = 60;
  std::mt19937_64 rng{7};
  const moe::Layer layer{support::random_router<float>(6, width, rng), moe::TopK{.k = 2},
                         support::random_experts<X>(6, width, hidden, rng)};
  const auto fast = moe::quantized<W>(layer);
  const Matrix<float> x = random_plain(tokens, width, 8), y = fast.forward(x, moe::Serial{});
  EXPECT_TRUE(same_bits(y, fast.forward(x, moe::Team{.threads = 2})));
  EXPECT_TRUE(same_bits(y, moe::dequantized(fast).forward(x, moe::Serial{})));
  for (Index t = 0; t < tokens; t += 7) {
    const Matrix<float> one = x.row(t), own = y.row(t);
    EXPECT_TRUE(same_bits(own, fast.forward(one, moe::Serial{}))) << t;
  }
  EXPECT_EQ(fast.forward(Matrix<float>(0, width)).rows(), 0);
}
template <class W>
void expect_one_result_of_experts() {
  expect_one_result<W, moe::SwiGlu<float>>();
  expect_one_result<W, moe::ClampedSwiGlu<float>>();
  expect_one_result<W, moe::Mlp<float, moe::Gelu>>();
}

}  // namespace storage_case
