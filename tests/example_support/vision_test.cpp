#include "support/vision.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"
#include "support/moe_layer.hpp"

namespace vision_test {

using example::Index;
using Ffn = example::MoeLayer<double>;
using Model = example::VisionTransformer<Ffn>;
using Batch = example::ImageBatch<double>;

constexpr example::VisionSize tiny{.side = 4, .patch = 2, .classes = 3, .width = 4, .heads = 2, .blocks = 2};

Batch three_images() {
  moe::Random random(5);
  return example::cut_images(moe::random_matrix<double>(3, 16, random), {2, 0, 1}, tiny);
}

/// All losses that the examples use, V-MoE's noise; the first of two blocks is dense unless they share a mixture.
Model tiny_model(bool shared) {
  moe::Random random(7);
  const auto ffn = [&](Index block) {
    if (!shared && block == 0) return example::dense_layer<double>(tiny.width, 5, random);
    const moe::TopK gate{.k = 2, .weights = moe::ChoiceWeights::probabilities()};
    return Ffn{moe::Router<double>::random(3, tiny.width, random), moe::FixedNoise{gate, 1.0},
               moe::make_experts<moe::Mlp<double, moe::Relu>>(3, tiny.width, 5, random),
               example::LossCoefficients{.importance = 0.1, .load = 0.1, .load_balance = 0.1}.losses()};
  };
  example::VisionSize size = tiny;
  size.shared = shared;
  return example::random_vision_transformer<Ffn>(size, ffn, random);
}

double loss_of(const Model& model, const Batch& batch, Model::Tape& tape) {
  moe::Random random(11);
  example::Transformer<Ffn>::seed(tape.transformer, random);
  double loss = model.forward(batch, tape);
  for (std::size_t b = 0; b < tape.transformer.blocks.size(); ++b)
    loss += model.transformer.ffns[model.transformer.ffn_of(b)].auxiliary_loss(tape.transformer.blocks[b].ffn);
  return loss;
}

TEST(Vision, CutsImagesIntoPatchesRowByRow) {
  moe::Matrix<double> image_NP(1, 16);
  for (Index i = 0; i < 16; ++i) image_NP(0, i) = static_cast<double>(i);
  const Batch batch = example::cut_images(image_NP, {1}, tiny);
  moe::Matrix<double> expected(4, 4);
  expected << 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15;
  EXPECT_EQ(batch.patch_TP, expected);
  EXPECT_EQ(batch.patches(), 4);
}

TEST(Vision, ImagesThatDoNotDivideAreRefused) {
  example::VisionSize size = tiny;
  size.patch = 3;
  EXPECT_THROW(example::cut_images<double>(moe::Matrix<double>::Zero(1, 16), {0}, size), std::invalid_argument);
}

TEST(Vision, TakesTheImagesThatAreAskedFor) {
  const Batch all = three_images(), some = example::images_of(all, {2, 0});
  EXPECT_EQ(some.label, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(some.patch_TP.topRows(4), all.patch_TP.bottomRows(4));
  EXPECT_EQ(some.patch_TP.bottomRows(4), all.patch_TP.topRows(4));
}

TEST(Vision, GradientsAgreeWithDifferences) {
  const Batch batch = three_images();
  for (const bool shared : {false, true}) {
    Model model = tiny_model(shared);
    EXPECT_EQ(model.transformer.ffns.size(), shared ? 1u : 2u);
    auto tape = model.tape();
    loss_of(model, batch, tape);
    Model gradient = moe::zeros_like(model);
    model.backward(batch, tape, gradient);
    moe::testing::GradientReport report;
    auto loss = [&, again = model.tape()]() mutable { return loss_of(model, batch, again); };
    moe::testing::check_parameters(model, gradient, loss, support::gradient_options(), report);
    EXPECT_TRUE(report) << report;
    if (MOE_TEST_GRADIENT_ENTRIES == 400) {
      EXPECT_GT(report.checked, 150);
    }
  }
}

TEST(Vision, TrainingLearnsTheImagesByHeart) {
  example::VisionTraining<Ffn> training(tiny_model(true), {.sequences = 6, .learning_rate = 1e-2});
  const Batch batch = three_images();
  const double before = training.advance(batch, 0);
  double after = before;
  for (int step = 1; step < 60; ++step) after = training.advance(batch, 0.3);
  EXPECT_LT(after, before / 4);
  auto tape = training.model.tape();
  training.model.forward(batch, tape);
  EXPECT_EQ(example::share_right(tape.logits_NC, batch.label), 1);
}

TEST(Vision, TheGradientMayBeAdjusted) {
  example::VisionTraining<Ffn> training(tiny_model(true), {.sequences = 6, .weight_decay = 0});
  const auto before = moe::flatten(training.model);
  training.adjust = [](Model& gradient) { moe::set_zero(gradient); };
  training.advance(three_images(), 0.3);
  EXPECT_EQ(moe::flatten(training.model), before);
}

}  // namespace vision_test
