#include "moe/loss/choice_count.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "loss/decisions.hpp"

namespace moe {
namespace choice_count_test {

/// Four tokens in two groups, two experts, k = 2; token 1's first choice was dropped.
Routing<double> example() {
  auto routing = loss::decision(
      Matrix<double>{{.25, .75}, {.5, .5}, {.875, .125}, {.75, .25}},
      {{0, 1, .75, 0}, {1, 1, .5, 0, Fate::dropped}, {2, 0, .875, 0}, {3, 0, .75, 0}, {0, 0, .25, 1}, {3, 1, .25, 1}});
  routing.choices_per_token = 1;
  return routing;
}

Matrix<double> counts(ChoiceCount count, Index groups = 1) {
  Buffer<Matrix<double>> count_GE;
  std::vector<Index> best;
  detail::count_choices(example(), count, groups, count_GE, best);
  return count_GE;
}

TEST(ChoiceCount, CountsWhatItNames) {
  EXPECT_EQ(counts(ChoiceCount::first_choices), (Matrix<double>{{2, 2}}));
  EXPECT_EQ(counts(ChoiceCount::all_choices), (Matrix<double>{{3, 3}}));
  EXPECT_EQ(counts(ChoiceCount::all_choices_share), (Matrix<double>{{3, 3}}));
  EXPECT_EQ(counts(ChoiceCount::kept_first_choices), (Matrix<double>{{2, 1}}));
  EXPECT_EQ(counts(ChoiceCount::kept_first_choices_share), (Matrix<double>{{2, 1}}));
  EXPECT_EQ(counts(ChoiceCount::dropped_to_first_expert), (Matrix<double>{{3, 1}}));
  EXPECT_EQ(counts(ChoiceCount::plain_top_k_share), (Matrix<double>{{3, 1}}));  // a tie goes to the lower index
}

TEST(ChoiceCount, CountsGroupByGroup) {
  EXPECT_EQ(counts(ChoiceCount::first_choices, 2), (Matrix<double>{{0, 2}, {2, 0}}));
  EXPECT_EQ(counts(ChoiceCount::plain_top_k_share, 2), (Matrix<double>{{1, 1}, {2, 0}}));
}

TEST(ChoiceCount, SharesAreOfWhatWasCounted) {
  EXPECT_TRUE(detail::is_share(ChoiceCount::all_choices_share));
  EXPECT_FALSE(detail::is_share(ChoiceCount::all_choices));
}

}  // namespace choice_count_test
}  // namespace moe
