#include "moe/gating/choose_best.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "gating/route.hpp"

namespace moe {
namespace choose_best_test {

TEST(ChooseBest, TakesTheFirstOfTheBestByRankThenByToken) {
  const Matrix<double> x_TD = Matrix<double>::Zero(3, 1);
  const std::vector<std::uint8_t> valid{1, 0, 1};
  Batch<double> batch = x_TD;
  batch.valid = valid;
  Routing<double> routing;
  routing.reset(batch, 3);
  routing.logits_TE << 0, 2, 1, 5, 5, 5, 3, 1, 2;
  std::vector<Index> most;
  detail::choose_best(
      routing,
      [&](Index t) {
        most.push_back(t);
        return Index{2};
      },
      [](Index t, const Index* best) { return t == 0 ? Index{2} : Index{best[1] == 2 ? 1 : 0}; });
  EXPECT_EQ(most, (std::vector<Index>{0, 2}));  // not for padding
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 2, 0}));
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1, 0, 2}));
  EXPECT_EQ(routing.choices[2].rank, 1);
  for (Index t = 0; t < 3; ++t) EXPECT_NEAR(routing.probabilities_TE.row(t).sum(), 1, 1e-15);
}

}  // namespace choose_best_test
}  // namespace moe
