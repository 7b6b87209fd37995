#include "moe/core/chunk.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace chunk_test {

template <class S>
class Chunks : public testing::Test {};
using Scalars = testing::Types<float, double, long double>;
TYPED_TEST_SUITE(Chunks, Scalars);

/// 16 numbers from -2 to 1.75.
template <class S>
std::array<S, panel_width> numbers() {
  std::array<S, panel_width> values;
  for (Index i = 0; i < panel_width; ++i) values[static_cast<std::size_t>(i)] = S(i) / 4 - 2;
  return values;
}

template <class S, class F>
void expect_values(const Chunk<S>& chunk, F&& f, S tolerance = 0) {
  for (Index i = 0; i < panel_width; ++i)
    EXPECT_LE(std::abs(chunk[i] - f(numbers<S>()[static_cast<std::size_t>(i)])), tolerance) << i;
}

TYPED_TEST(Chunks, OperatorsWorkValueByValueAndNumbersStandForChunks) {
  using S = TypeParam;
  const Chunk<S> x = Chunk<S>::load(numbers<S>().data());
  expect_values<S>(x, [](S v) { return v; });
  expect_values<S>(x * x - 2 * x + S(0.5), [](S v) { return v * v - 2 * v + S(0.5); });
  expect_values<S>(-x / 4, [](S v) { return -v / 4; });
  expect_values<S>(1 / (x.abs() + 1), [](S v) { return 1 / (std::abs(v) + 1); });
  expect_values<S>((x.max)(0), [](S v) { return v > 0 ? v : 0; });
  expect_values<S>((x.min)(S(0.5)), [](S v) { return v < S(0.5) ? v : S(0.5); });
  expect_values<S>(where_less(x, 1, x, 7), [](S v) { return v < 1 ? v : S(7); });
  expect_values<S>(x.square(), [](S v) { return v * v; });
  expect_values<S>(x.cube(), [](S v) { return v * v * v; });
  expect_values<S>((x + S(0.125)).inverse(), [](S v) { return 1 / (v + S(0.125)); });
  expect_values<S>(x.unaryExpr([](S v) { return v + 3; }), [](S v) { return v + 3; });
  Chunk<S> changed = x;
  changed += 1;
  changed *= 2;
  changed -= x;
  changed /= 2;
  expect_values<S>(changed, [](S v) { return ((v + 1) * 2 - v) / 2; });
}

TYPED_TEST(Chunks, FunctionsAreThoseOfTheirNames) {
  using S = TypeParam;
  const S tolerance = 16 * std::numeric_limits<S>::epsilon();
  const Chunk<S> x = Chunk<S>::load(numbers<S>().data());
  expect_values<S>(
      x.exp(), [](S v) { return std::exp(v); }, tolerance);
  expect_values<S>((x + 3).log(), [](S v) { return std::log(v + 3); }, tolerance);
  expect_values<S>((x + 2).log1p(), [](S v) { return std::log1p(v + 2); }, tolerance);
  expect_values<S>(
      x.tanh(), [](S v) { return std::tanh(v); }, tolerance);
}

TYPED_TEST(Chunks, TheSumAndTheLargestAreOfAllValues) {
  using S = TypeParam;
  const Chunk<S> x = Chunk<S>::load(numbers<S>().data());
  EXPECT_EQ(x.sum(), S(-2));
  EXPECT_EQ(x.maxCoeff(), S(1.75));
  EXPECT_EQ((-x).maxCoeff(), S(2));
}

TEST(Chunk, WhereLessIsNoForNaN) {
  const float nan = support::nan_of<float>;
  EXPECT_EQ(where_less(Chunk<float>(nan), 1, 2, 3)[0], 3);
  EXPECT_EQ(where_less(Chunk<float>(1), nan, 2, 3)[9], 3);
  EXPECT_TRUE(std::isnan(where_less(Chunk<float>(0), 1, nan, 3)[0]));
}

TEST(Chunk, APartialChunkIsPadded) {
  const std::vector<float> values{1, 2, 3};
  const Chunk<float> chunk = detail::load_chunk(values.data(), 3, -1.0f);
  EXPECT_EQ(chunk[0], 1);
  EXPECT_EQ(chunk[2], 3);
  for (Index i = 3; i < panel_width; ++i) EXPECT_EQ(chunk[i], -1);
}

TEST(Chunk, StoringAPartialChunkLeavesWhatComesAfter) {
  std::vector<float> to(panel_width, 9);
  detail::store_chunk<float>(1, to.data(), 2);
  EXPECT_EQ(to[1], 1);
  EXPECT_EQ(to[2], 9);
}

TEST(Chunk, FirstOnesAreOnesAndThenZeros) {
  for (Index count = 0; count <= panel_width; ++count)
    for (Index i = 0; i < panel_width; ++i) EXPECT_EQ(detail::first_ones<double>(count)[i], i < count ? 1 : 0);
}

}  // namespace chunk_test
}  // namespace moe
