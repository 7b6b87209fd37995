#include "moe/expert/tape_settings.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace moe {
namespace tape_settings_test {

struct Nothing {};
struct Drawing {
  std::optional<Random> random;
  float loss_scale = 0;
};
struct Inner {
  detail::OuterTokens outer;
};

TEST(TapeSettings, AnExpertsTapeIsSeededInTrainingAndEmptiedOtherwise) {
  Random random(3), same(3);
  Drawing drawing;
  detail::set_seed(&random, drawing);
  detail::set_loss_scale(0.5f, drawing);
  EXPECT_EQ(drawing.random->uniform(), Random(same.seed()).uniform());
  EXPECT_EQ(drawing.loss_scale, 0.5f);
  detail::set_seed(nullptr, drawing);
  detail::set_loss_scale(1.0f, drawing);
  EXPECT_FALSE(drawing.random.has_value());
}

TEST(TapeSettings, AnExpertsTapeWithoutAGeneratorDrawsNoSeed) {
  Random random(3), same(3);
  Nothing nothing;
  detail::set_seed(&random, nothing);
  detail::set_loss_scale(1.0f, nothing);
  EXPECT_EQ(random.uniform(), same.uniform());
}

TEST(TapeSettings, ATapeIsToldWhetherAPassKeepsActivations) {
  struct {
    bool keep_activations = true;
  } tape;
  detail::set_keep_activations(false, tape);
  EXPECT_FALSE(tape.keep_activations);
  Nothing nothing;
  detail::set_keep_activations(false, nothing);
}

TEST(TapeSettings, LayersInsideALayerLearnWhichTokensTheirRowsAre) {
  Plan<float> plan;
  plan.chosen = {1, 2};
  plan.first_slot = {0, 1, 3};
  plan.token = {2, 0, 2};
  const Matrix<float> x_TD = Matrix<float>::Ones(3, 1);
  Batch<float> batch = x_TD;
  batch.ids = {7, 8, 9};
  std::vector<Inner> tapes(2);
  detail::set_tokens(batch, plan, tapes);
  EXPECT_EQ(tapes[0].outer.numbers, std::vector<Index>{2});
  EXPECT_EQ(tapes[1].outer.numbers, (std::vector<Index>{0, 2}));
  EXPECT_EQ(tapes[1].outer.ids, (std::vector<std::int64_t>{7, 9}));
  batch.ids = {};
  detail::set_tokens(batch, plan, tapes);
  EXPECT_TRUE(tapes[1].outer.ids.empty());
  std::vector<Nothing> none(2);
  detail::set_tokens(batch, plan, none);
}

}  // namespace tape_settings_test
}  // namespace moe
