#include "moe/kernel/row_softmax.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/matrices.hpp"

namespace moe {
namespace softmax_test {

using support::infinity_of;
using support::nan_of;

template <class S>
Vector<S> softmax(const Vector<S>& logits) {
  Vector<S> probabilities(logits.size());
  detail::softmax_row(logits.data(), logits.size(), probabilities.data());
  return probabilities;
}

TEST(SoftmaxKernel, EqualLogitsShareEvenly) {
  EXPECT_EQ(softmax<float>(Vector<float>::Constant(4, 7)), Vector<float>::Constant(4, 0.25f));
}

TEST(SoftmaxKernel, LogitsThatAreLogarithmsGiveTheirNumbersShares) {
  const Vector<double> logits{{std::log(1.0), std::log(2.0), std::log(5.0)}};
  EXPECT_TRUE(softmax<double>(logits).isApprox(Vector<double>{{0.125, 0.25, 0.625}}, 1e-15));
}

TEST(SoftmaxKernel, ReturnsTheLogarithmOfTheSumOfExponentials) {
  const Vector<double> logits{{std::log(3.0), std::log(4.0)}};
  Vector<double> probabilities(2);
  EXPECT_NEAR(detail::softmax_row(logits.data(), Index{2}, probabilities.data()).log(), std::log(7.0), 1e-15);
}

TEST(SoftmaxKernel, MayWriteOverItsInput) {
  Vector<float> row = support::random_matrix<float>(19, 1, 1);
  const Vector<float> expected = softmax<float>(row);
  detail::softmax_row(row.data(), row.size(), row.data());
  EXPECT_TRUE(support::same_bits(row, expected));
}

TEST(SoftmaxKernel, HugeFiniteLogitsGiveFiniteShares) {
  const Vector<float> logits{{3e38f, -3e38f, 3e38f}};
  EXPECT_EQ(softmax<float>(logits), (Vector<float>{{0.5f, 0, 0.5f}}));
}

TEST(SoftmaxKernel, MinusInfinityHasNoShare) {
  const Vector<float> logits{{1, -infinity_of<float>, 1}};
  EXPECT_EQ(softmax<float>(logits), (Vector<float>{{0.5f, 0, 0.5f}}));
}

TEST(SoftmaxKernel, SeveralInfinitiesShareAll) {
  const Vector<float> logits{{infinity_of<float>, 3e38f, infinity_of<float>, 0}};
  EXPECT_EQ(softmax<float>(logits), (Vector<float>{{0.5f, 0, 0.5f, 0}}));
}

/// exp(x) is a normal number down to x = log(smallest normal), and 0 below.
TEST(SoftmaxKernel, WhatIsTooSmallIsZero) {
  const float lowest = std::log((std::numeric_limits<float>::min)()), below = std::nextafter(lowest, -100.0f);
  const Vector<float> logits{{0, lowest, below, -3e38f}};
  for (const Index size : {4, 40}) {  // in one chunk, and in several
    Vector<float> row = Vector<float>::Constant(size, -1000);
    row.head(4) = logits;
    const Vector<float> p = softmax<float>(row);
    EXPECT_EQ(p(0), 1);
    EXPECT_GT(p(1), 0);
    EXPECT_TRUE((p.tail(size - 2).array() == 0).all()) << p.transpose();
  }
}

TEST(SoftmaxKernel, ARowWithNaNIsNaNThroughout) {
  for (const Index size : {2, 16, 17, 33})
    for (const float other : {1.0f, infinity_of<float>})
      for (const Index place : {Index{0}, size - 1}) {
        Vector<float> logits = Vector<float>::Constant(size, other);
        logits(place) = nan_of<float>;
        EXPECT_TRUE(softmax<float>(logits).array().isNaN().all()) << size << ' ' << other << ' ' << place;
      }
}

TEST(SoftmaxKernel, ARowOfNothingButMinusInfinityIsNaN) {
  EXPECT_TRUE(softmax<double>(Vector<double>::Constant(3, -infinity_of<double>)).array().isNaN().all());
}

TEST(SoftmaxKernel, AnEmptyRowHasTheLogarithmOfZero) {
  EXPECT_EQ(detail::softmax_row<float>(nullptr, Index{0}, nullptr).log(), -infinity_of<float>);
}

TEST(SoftmaxKernel, TheSharesOfARowLongerThanAChunkSumToOne) {
  for (const Index size : {15, 16, 17, 100}) {
    const Vector<double> probabilities = softmax<double>(support::random_matrix<double>(size, 1, 3));
    EXPECT_NEAR(probabilities.sum(), 1, 1e-14);
    EXPECT_GT(probabilities.minCoeff(), 0);
  }
}

TEST(SoftmaxKernel, TheJacobianIsAddedToWhatIsThere) {
  // p = (1/4, 3/4), dp = (1, 2): p'dp = 7/4, so J dp = (1/4 (1 - 7/4), 3/4 (2 - 7/4)) = (-3/16, 3/16).
  const Vector<double> p{{0.25, 0.75}};
  const Vector<double> dp{{1, 2}};
  Vector<double> dlogits = Vector<double>::Ones(2);
  detail::softmax_row_backward(p.data(), dp.data(), Index{2}, dlogits.data());
  EXPECT_EQ(dlogits, (Vector<double>{{1 - 3.0 / 16, 1 + 3.0 / 16}}));
}

TEST(SoftmaxKernel, TheLogarithmOfTheSumShowsNaNAndInfinities) {
  const double infinite = support::infinity_of<double>;
  for (const Index size : {3, 20, 40}) {
    Vector<double> logits = Vector<double>::Zero(size), p(size);
    const auto log_sum = [&] { return detail::softmax_row(logits.data(), size, p.data()).log(); };
    EXPECT_NEAR(log_sum(), std::log(static_cast<double>(size)), 1e-15);
    logits(1) = support::nan_of<double>;
    EXPECT_TRUE(std::isnan(log_sum())) << size;
    logits(1) = infinite;
    EXPECT_EQ(log_sum(), infinite) << size;
    logits.setConstant(-infinite);
    EXPECT_EQ(log_sum(), -infinite) << size;
  }
}

TEST(SoftmaxKernel, ASumDoesNotDependOnWhereTheRowLies) {
  const Matrix<float> row = support::random_matrix<float>(1, 37, 1);
  Vector<float> memory(60);
  for (Index begin = 0; begin < 20; ++begin) {
    memory.segment(begin, 37) = row.transpose();
    EXPECT_EQ(detail::sum_row(memory.data() + begin, Index{37}), detail::sum_row(row.data(), Index{37})) << begin;
  }
  EXPECT_NEAR(detail::sum_row(row.data(), Index{37}), row.sum(), 1e-5);
}

TEST(SoftmaxKernel, TheDotProductCountsEveryEntryOnce) {
  const Vector<float> ones = Vector<float>::Ones(35);
  EXPECT_EQ(detail::dot_rows(ones.data(), ones.data(), Index{35}), 35);
}

}  // namespace softmax_test
}  // namespace moe
