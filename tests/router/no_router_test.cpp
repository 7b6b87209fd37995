#include "moe/router/no_router.hpp"

#include <gtest/gtest.h>

#include "moe/concepts.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace no_router_test {

static_assert(ScoringRouter<NoRouter<float>>);

TEST(NoRouter, AllLogitsAreZero) {
  const Matrix<float> x_TD = Matrix<float>::Ones(2, 3);
  Routing<float> routing;
  routing.reset(x_TD, 4);
  support::poison(routing.logits_TE);
  NoRouter<float>::Tape tape;
  NoRouter<float>{4}.forward(x_TD, routing, tape, nullptr);
  EXPECT_EQ(routing.logits_TE, Matrix<float>::Zero(2, 4));
}

TEST(NoRouter, HasNoParametersAndTakesAnyWidth) {
  const NoRouter<float> router{4};
  EXPECT_EQ(parameter_count(router), 0);
  EXPECT_EQ(router.experts(), 4);
  EXPECT_EQ(router.width(), 0);
}

TEST(NoRouter, NoExpertsAreRefused) {
  support::expect_invalid([] { NoRouter<float>{0}.check(); }, {"0 experts"});
  support::expect_invalid([] { NoRouter<float>{-2}.check(); }, {"-2 experts"});
}

}  // namespace no_router_test
}  // namespace moe
