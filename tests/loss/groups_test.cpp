#include "moe/loss/groups.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "loss/decisions.hpp"

namespace moe {
namespace groups_test {

TEST(Groups, PaddingDoesNotCountAndAGroupOfPaddingIsNone) {
  auto routing = loss::decision(Matrix<double>::Constant(6, 2, 0.5), {});
  for (const Index t : {1, 2, 3}) loss::mark_as_padding(routing, t);
  routing.group_size = 2;
  std::vector<Index> tokens_G;
  EXPECT_EQ(detail::count_group_tokens(routing, routing.rows_of_group(), tokens_G), 2);
  EXPECT_EQ(tokens_G, (std::vector<Index>{1, 0, 2}));
}

TEST(Groups, WithoutGroupsAllTokensAreOne) {
  auto routing = loss::decision(Matrix<double>::Constant(6, 2, 0.5), {});
  std::vector<Index> tokens_G;
  EXPECT_EQ(detail::count_group_tokens(routing, routing.rows_of_group(), tokens_G), 1);
  EXPECT_EQ(tokens_G, (std::vector<Index>{6}));
}

TEST(Groups, OfNothingThereAreNone) {
  const auto routing = loss::decision(Matrix<double>(0, 2), {});
  std::vector<Index> tokens_G{9};
  EXPECT_EQ(detail::count_group_tokens(routing, routing.rows_of_group(), tokens_G), 0);
  EXPECT_TRUE(tokens_G.empty());
}

}  // namespace groups_test
}  // namespace moe
