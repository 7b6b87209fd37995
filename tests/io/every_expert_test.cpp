// Layers of every kind of expert are saved and loaded through the parameter visitor.
#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/model_file.hpp"
#include "moe/moe.hpp"
#include "support/matrices.hpp"
#include "support/one_thread.hpp"
#include "temporary_folder.hpp"

namespace moe {
namespace every_expert_test {

constexpr Index width = 5;

using Any = VariantExpert<float, Mlp<float, SquaredRelu>, ClampedSwiGlu<float>, BilinearGlu<float>, Linear<float>,
                          ZeroExpert<float>, IdentityExpert<float>, ConstantExpert<float>>;

/// A bag of all, twice shared: by a gate and by a residual mixture.
auto model(std::uint64_t seed) {
  std::mt19937_64 rng{seed};
  const ExpertOptions options{.bias = true, .multiplier = true, .dropout = 0.1};
  std::vector<Any> experts{
      Mlp<float, SquaredRelu>::random(width, 7, rng, options),
      ClampedSwiGlu<float>::random(width, 4, rng, options, {.alpha = 1.702, .limit = 7, .offset = 1}),
      BilinearGlu<float>::random(width, 17, rng),
      Linear<float>::random(width, width, rng),
      ZeroExpert<float>{},
      IdentityExpert<float>{},
      ConstantExpert<float>::random(width, rng),
      ConstantExpert<float>{random_matrix<float>(width, 1, rng)}};
  const Layer layer{Router<float>::random(std::ssize(experts), width, rng), TopK{.k = 3}, experts};
  const Shared gated{layer, SwiGlu<float>::random(width, 3, rng), SigmoidMix<float>::random(width, rng)};
  return Shared{gated, Mlp<float, Gelu>::random(width, 4, rng), SoftmaxMix<float>::random(width, rng, true)};
}

TEST(ModelFile, KeepsLayersOfEveryKindOfExpert) {
  const TemporaryFolder folder;
  const auto saved = model(1);
  auto loaded = model(2);
  const auto x = support::random_matrix<float>(9, width, 3);
  ASSERT_NE(saved.forward(x), loaded.forward(x));
  io::save(folder / "model", saved);
  io::load(folder / "model", loaded);
  EXPECT_TRUE(support::same_parameters(saved, loaded));
  EXPECT_TRUE(support::same_bits(saved.forward(x), loaded.forward(x)));
}

TEST(ModelFile, AnExpertOfAnotherTypeOrWidthIsAMismatch) {
  const TemporaryFolder folder;
  const auto saved = model(1);
  io::save(folder / "model", saved);
  auto other = model(2);
  std::swap(other.layer.layer.experts[0], other.layer.layer.experts[3]);
  const auto before = other;
  try {
    io::load(folder / "model", other);
    FAIL() << "nothing was refused";
  } catch (const io::FileError& error) {
    EXPECT_NE(std::string_view(error.what()).find("'layer.layer.experts.0.weight': missing"), std::string_view::npos)
        << error.what();
  }
  EXPECT_TRUE(support::same_parameters(before, other));
}

}  // namespace every_expert_test
}  // namespace moe
