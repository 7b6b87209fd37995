#include "moe/gating/hash_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace hash_table_test {

using support::expect_invalid;

TEST(HashTable, ARandomOneNamesExpertsThatExist) {
  std::mt19937_64 rng(1);
  const std::vector<Index> table = detail::random_table(200, 5, rng);
  const auto [lowest, highest] = std::minmax_element(table.begin(), table.end());
  EXPECT_EQ(table.size(), 200u);
  EXPECT_EQ(*lowest, 0);
  EXPECT_EQ(*highest, 4);
  expect_invalid([&] { detail::random_table(0, 5, rng); }, {"0 ids", "5 experts"});
}

TEST(HashTable, ABalancedOneGivesEachIdToTheLightestExpert) {
  // Frequencies 4, 3, 2, 1: the first two ids open both experts, then the second expert is lighter, then equal.
  EXPECT_EQ(detail::balanced_table({4, 3, 2, 1}, 2), (std::vector<Index>{0, 1, 1, 0}));
  EXPECT_EQ(detail::balanced_table({1, 1, 1}, 3), (std::vector<Index>{0, 1, 2}));
  expect_invalid([] { detail::balanced_table({1, -1}, 2); }, {"id 1", "frequency -1"});
}

TEST(HashTable, AClusteredOneKeepsCloseEmbeddingsTogether) {
  std::mt19937_64 rng(1);
  const Matrix<double> embeddings{{0, 0}, {9, 9}, {0.1, 0}, {9, 9.1}};
  const std::vector<Index> table = detail::clustered_table(embeddings, 2, rng, 50);
  EXPECT_EQ(table[0], table[2]);
  EXPECT_EQ(table[1], table[3]);
  EXPECT_NE(table[0], table[1]);
  expect_invalid([&] { detail::clustered_table(embeddings, 5, rng, 50); }, {"4 ids", "5 experts"});
}

}  // namespace hash_table_test
}  // namespace moe
