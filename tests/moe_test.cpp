// The umbrella header, as a first program uses it.
#include "moe/moe.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace moe {
namespace moe_test {

TEST(Umbrella, BringsAllThatALayerNeeds) {
  std::mt19937_64 generator{1};
  const Layer layer{Router<float>::random(4, 3, generator), TopK{.k = 2},
                    make_experts<SwiGlu<float>>(4, 3, 5, generator)};
  const Matrix<float> x_TD = Matrix<float>::Ones(2, 3);
  const Matrix<float> y_TD = layer.forward(x_TD);
  EXPECT_EQ(y_TD.rows(), 2);
  EXPECT_EQ(y_TD.cols(), 3);
  EXPECT_TRUE(y_TD.allFinite());
}

TEST(Version, OneNumberHoldsAllThree) {
  EXPECT_EQ(MOE_VERSION / 10000, MOE_VERSION_MAJOR);
  EXPECT_EQ(MOE_VERSION / 100 % 100, MOE_VERSION_MINOR);
  EXPECT_EQ(MOE_VERSION % 100, MOE_VERSION_PATCH);
}

}  // namespace moe_test
}  // namespace moe
