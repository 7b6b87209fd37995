#include "support/cross_entropy.hpp"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "moe/core/random.hpp"

namespace cross_entropy_test {

TEST(CrossEntropy, TokensWithoutLabelDoNotCount) {
  moe::Random random(1);
  const moe::Matrix<double> logits_TV = moe::random_matrix<double>(4, 3, random);
  moe::Matrix<double> all = logits_TV, labelled(2, 3);
  labelled << logits_TV.row(1), logits_TV.row(3);
  const std::vector<std::int64_t> label{-1, 2, -1, 0}, own{2, 0};
  EXPECT_DOUBLE_EQ(example::cross_entropy(all, label), example::cross_entropy(labelled, own));
  example::cross_entropy_gradient(all, label);
  example::cross_entropy_gradient(labelled, own);
  EXPECT_EQ(all.row(1), labelled.row(0));
  EXPECT_EQ(all.row(3), labelled.row(1));
  EXPECT_TRUE(all.row(0).isZero(0) && all.row(2).isZero(0));
}

TEST(CrossEntropy, OfNoLabelIsZero) {
  moe::Matrix<double> logits_TV = moe::Matrix<double>::Ones(2, 3);
  const std::vector<std::int64_t> label{-1, -1};
  EXPECT_EQ(example::cross_entropy(logits_TV, label), 0);
  example::cross_entropy_gradient(logits_TV, label);
  EXPECT_TRUE(logits_TV.isZero(0));
}

}  // namespace cross_entropy_test
