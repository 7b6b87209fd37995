// A training run that is saved between two steps and resumed gives the bits of one that ran through: weights, the
// optimiser's moments and steps, and the state of the generator that draws noise, jitter and dropout.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>

#include "moe/io/safetensors.hpp"
#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/matrices.hpp"
#include "temporary_folder.hpp"

namespace moe {
namespace resume_test {

constexpr Index tokens = 24, experts = 4, width = 6, hidden = 8;

using Gate = NoisyTopK<float>;
using MoeLayer = Layer<Router<float>, Gate, SwiGlu<float>, Losses<ImportanceLoss, LoadLoss>>;

MoeLayer layer_of(std::uint64_t seed) {
  std::mt19937_64 rng{seed};
  auto router = Router<float>::random(experts, width, rng);
  router.jitter = 1e-2;
  return {router, Gate::zeros(experts, width, {.k = 2}),
          make_experts<SwiGlu<float>>(experts, width, hidden, rng, ExpertOptions{.dropout = 0.25}),
          Losses{ImportanceLoss{}, LoadLoss{}}, Capacity::factor(1.25)};
}

/// All that the next step depends on, as a user would write it.
struct Training {
  MoeLayer layer;
  AdamW<MoeLayer> adam{layer, {.learning_rate = 1e-2, .weight_decay = 1e-3}};
  MoeLayer::Tape tape;

  Training(std::uint64_t model_seed, std::uint64_t pass_seed) : layer(layer_of(model_seed)), tape(pass_seed) {}

  void run(int steps) {
    const auto x = support::random_matrix<float>(tokens, width, 5),
               target = support::random_matrix<float>(tokens, width, 6);
    auto gradient = zeros_like(layer);
    for (int i = 0; i < steps; ++i) {
      set_zero(gradient);
      const Matrix<float> error = layer.forward(x, tape) - target;
      layer.backward(x, error, tape, gradient);
      ASSERT_TRUE(adam.step(layer, gradient));
    }
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("layer", f, self.layer...);
    visit_part("adam", f, self.adam...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("layer", f, self.layer...);
    visit_part_buffers("adam", f, self.adam...);
    visit_part_buffers("tape", f, self.tape...);
  }
};

TEST(Resume, ATrainingThatIsSavedBetweenStepsGoesOnToTheSameBits) {
  for (const MomentFormat moments : {MomentFormat::same, MomentFormat::bfloat16}) {
    const TemporaryFolder folder;
    Training through(1, 2), other(3, 4);
    through.adam.options.moments = other.adam.options.moments = moments;
    through.run(5);
    io::save(folder / "training", through);
    io::load(folder / "training", other);
    through.run(5);
    other.run(5);
    EXPECT_TRUE(support::same_parameters(through, other));  // moments too
    EXPECT_EQ(through.adam.steps, other.adam.steps);
    EXPECT_EQ(through.tape.random->seed(), other.tape.random->seed());
  }
}

/// So that the test above sees what it is about: without the generator's state the runs part.
TEST(Resume, WithoutTheGeneratorsStateTheRunsPart) {
  const TemporaryFolder folder;
  Training through(1, 2), other(3, 4);
  through.run(5);
  io::save(folder / "training", through);
  io::load(folder / "training", other, {.keep = {"tape"}});
  through.run(1);
  other.run(1);
  EXPECT_FALSE(support::same_parameters(through, other));
}

TEST(Resume, AGeneratorIsSavedAlone) {
  const TemporaryFolder folder;
  Random random(1), loaded(2);
  for (int i = 0; i < 1000; ++i) random.normal();
  io::save(folder / "random", random);
  io::load(folder / "random", loaded);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(random.normal(), loaded.normal());
  EXPECT_EQ(io::Safetensors::open(folder / "random").tensor("state").shape, std::vector<std::uint64_t>{313});
}

/// The numbers in the file are those of every platform: the words of the standard's generator as it defines them.
TEST(Resume, TheStateInAFileIsTheSameEverywhere) {
  const TemporaryFolder folder;
  io::save(folder / "random", Random(5489));
  const auto state = io::Safetensors::open(folder / "random").values<std::uint64_t>("state");
  EXPECT_EQ(state[0], 5489u);
  EXPECT_EQ(state[1], 6364136223846793005u * 5489u + 1);
  EXPECT_EQ(state[312], 312u);
}

TEST(Resume, ARecordIsPlayedOnFromWhereItStopped) {
  const TemporaryFolder folder;
  Random random = Random::recorded({1, 2, 3}), loaded = Random::recorded({7, 8, 9});
  random.normal();
  io::save(folder / "random", random);
  io::load(folder / "random", loaded);
  EXPECT_EQ(loaded.normal(), 2);
  Random drawn(1);
  EXPECT_NE(message_of<io::FileError>([&] { io::load(folder / "random", drawn); }).find("'state': missing"),
            std::string::npos);
}

TEST(Resume, ATapeWithoutAGeneratorHasNothingToSave) {
  const TemporaryFolder folder;
  MoeLayer::Tape evaluation, training(1);
  io::save(folder / "tape", evaluation);
  EXPECT_TRUE(io::Safetensors::open(folder / "tape").names().empty());
  EXPECT_NE(message_of<io::FileError>([&] { io::load(folder / "tape", training); }).find("'random.state': missing"),
            std::string::npos);
}

}  // namespace resume_test
}  // namespace moe
