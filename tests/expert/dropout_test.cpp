#include "moe/expert/dropout.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <optional>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace dropout_test {

using support::expect_invalid;
using Seed = std::optional<std::uint64_t>;

Matrix<double> dropped(double rate, Seed seed, Index rows, Index columns) {
  Matrix<double> ones = Matrix<double>::Ones(rows, columns);
  Dropout{rate}.drop(seed, ones);
  return ones;
}

TEST(Dropout, DropsAtTheRateAndScalesTheRest) {
  for (const double rate : {0.1, 0.4, 0.9}) {
    const Matrix<double> mask = dropped(rate, 7, 200, 500);
    const double kept = (mask.array() != 0).cast<double>().mean(), deviation = std::sqrt(rate * (1 - rate) / 1e5);
    EXPECT_NEAR(kept, 1 - rate, 5 * deviation);
    EXPECT_NEAR(mask.maxCoeff(), 1 / (1 - rate), 1e-15);
  }
}

TEST(Dropout, RowsColumnsAndSeedsAreIndependent) {
  const double rate = 0.5, bound = 5 * std::sqrt(1 / 1e5);
  const Matrix<double> one = dropped(rate, 7, 200, 500).array() - 1, other = dropped(rate, 8, 200, 500).array() - 1;
  EXPECT_LT(std::abs(one.cwiseProduct(other).mean()), bound);
  EXPECT_LT(std::abs(one.topRows(199).cwiseProduct(one.bottomRows(199)).mean()), bound);
  EXPECT_LT(std::abs(one.leftCols(499).cwiseProduct(one.rightCols(499)).mean()), bound);
  EXPECT_LT(std::abs(one.topLeftCorner(199, 499).cwiseProduct(one.bottomRightCorner(199, 499)).mean()), bound);
}

TEST(Dropout, TheMaskIsAFunctionOfSeedAndPlace) {
  const Matrix<double> whole = dropped(0.3, 7, 5, 64);
  EXPECT_EQ(dropped(0.3, 7, 5, 64), whole);
  Matrix<double> parts = Matrix<double>::Ones(5, 64);
  for (const Index first : {48, 16, 0, 32}) Dropout{0.3}.drop(Seed{7}, parts, first, 16);  // in whatever order
  EXPECT_EQ(parts, whole);
  Matrix<double> last_rows = Matrix<double>::Ones(2, 64);
  Dropout{0.3}.drop(Seed{7}, last_rows, 0, 64, 3);
  EXPECT_EQ(last_rows, whole.bottomRows(2));
}

TEST(Dropout, WithoutASeedOrARateNothingIsDropped) {
  EXPECT_EQ(dropped(0.5, std::nullopt, 4, 9), Matrix<double>::Ones(4, 9));
  EXPECT_EQ(dropped(0, 7, 4, 9), Matrix<double>::Ones(4, 9));
}

TEST(Dropout, RatesThatMakeNoSenseAreRefused) {
  for (const double rate : {-0.1, 1.0, 2.0}) expect_invalid([&] { Dropout{rate}.check(); }, {"it must be in [0, 1)"});
  expect_invalid([&] { Dropout{support::nan_of<double>}.check(); }, {"the rate is nan"});
  Dropout{0.999}.check();
}

}  // namespace dropout_test
}  // namespace moe
