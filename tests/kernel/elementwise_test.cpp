#include "moe/kernel/elementwise.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace elementwise_test {

TEST(Elementwise, ChunksCoverAllAndTheLastIsShort) {
  std::vector<std::pair<Index, Index>> chunks;
  detail::for_each_chunk(35, [&](Index begin, Index count) { chunks.emplace_back(begin, count); });
  EXPECT_EQ(chunks, (std::vector<std::pair<Index, Index>>{{0, 16}, {16, 16}, {32, 3}}));
  detail::for_each_chunk(0, [](Index, Index) { ADD_FAILURE() << "there is nothing to cover"; });
}

TEST(Elementwise, AMapMayWriteOverItsInput) {
  Vector<double> a = Vector<double>::LinSpaced(20, 0, 19);
  const Vector<double> b = Vector<double>::Constant(20, 3), expected = a + b;
  detail::map_chunks(
      20, a.data(), [](const Chunk<double>& u, const Chunk<double>& v) { return u + v; }, a.data(), b.data());
  EXPECT_EQ(a, expected);
}

TEST(Elementwise, TheBitsOfAnElementDoNotDependOnItsPlace) {
  const auto exp = [](const Chunk<float>& u) { return u.exp(); };
  const Vector<float> in = support::random_matrix<float>(37, 1, 1);
  Vector<float> out(37), shifted(36);
  detail::map_chunks(37, out.data(), exp, in.data());
  detail::map_chunks(36, shifted.data(), exp, in.data() + 1);
  EXPECT_TRUE(support::same_bits(out.tail(36), shifted));
}

template <class S>
void expect_functions_of_logits() {
  const S tolerance = 8 * std::numeric_limits<S>::epsilon();
  for (const S x : {S(-700), S(-20), S(-0.5), S(0), S(0.25), S(3), S(50), S(900)}) {
    const S softplus = detail::softplus<S>(Chunk<S>(x))[3], sigmoid = detail::sigmoid<S>(Chunk<S>(x))[3];
    EXPECT_NEAR(softplus, x > 40 ? x : std::log1p(std::exp(x)), tolerance * (1 + std::abs(x)));
    EXPECT_NEAR(sigmoid, 1 / (1 + std::exp(-x)), tolerance);
  }
  for (const S p : {S(0.01), S(0.5), S(0.9)})
    EXPECT_NEAR(detail::log_odds<S>(p)[0], std::log(p / (1 - p)), 4 * tolerance);
}

TEST(Elementwise, FunctionsOfLogitsAreThoseOfTheirNames) {
  expect_functions_of_logits<float>();
  expect_functions_of_logits<double>();
}

}  // namespace elementwise_test
}  // namespace moe
