#include "moe/expert/make_experts.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/expert/mlp.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace make_experts_test {

TEST(MakeExperts, EachHasWeightsOfItsOwn) {
  std::mt19937_64 generator{1};
  const auto experts = make_experts<Mlp<float>>(3, 4, 5, generator);
  ASSERT_EQ(experts.size(), 3u);
  EXPECT_EQ(experts[0].w1_FD.rows(), 5);
  EXPECT_EQ(experts[0].w1_FD.cols(), 4);
  EXPECT_NE(experts[0].w1_FD, experts[1].w1_FD);
  EXPECT_NE(experts[1].w1_FD, experts[2].w1_FD);
}

TEST(MakeExperts, ASeedDeterminesAll) {
  std::mt19937_64 generator{1}, same{1};
  EXPECT_EQ(make_experts<Mlp<float>>(2, 4, 5, generator)[1].w2_DF, make_experts<Mlp<float>>(2, 4, 5, same)[1].w2_DF);
}

TEST(MakeExperts, OptionsReachEveryExpert) {
  std::mt19937_64 generator{1};
  for (const auto& expert : make_experts<Mlp<float>>(2, 4, 5, generator, ExpertOptions{.bias = true}))
    EXPECT_EQ(expert.b1_F.size(), 5);
}

TEST(MakeExperts, NoExpertsAreRefused) {
  std::mt19937_64 generator{1};
  support::expect_invalid([&] { make_experts<Mlp<float>>(0, 4, 5, generator); }, {"0 experts"});
  support::expect_invalid([&] { make_experts<Mlp<float>>(-3, 4, 5, generator); }, {"-3 experts"});
}

}  // namespace make_experts_test
}  // namespace moe
