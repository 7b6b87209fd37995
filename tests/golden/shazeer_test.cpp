// Noisy top-k gating with learned noise, importance and load losses.
#include <string>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/smooth_load.hpp"

namespace shazeer_test {

using namespace golden;

constexpr moe::ImportanceLoss importance{.coefficient = 1, .variance = moe::Variance::unbiased};

/// The layer of a file, and a tape with its noise.
struct Setting {
  Fixture fixture;
  Layer<moe::Router<double>, moe::NoisyTopK<double>, moe::Mlp<double>> layer;
  decltype(layer)::Tape tape;
  Matrix<double> x;

  Setting(const std::string& name, TopK weights)
      : fixture(name), layer(router_of<double>(fixture), gate(weights), experts_of<moe::Mlp<double>>(fixture)) {
    if (fixture.contains("noise.normal")) tape.random = Random::recorded(fixture.values<double>("noise.normal"));
    x = fixture.matrix<double>("x");
  }

  moe::NoisyTopK<double> gate(TopK top_k) {
    top_k.k = fixture.size("k");
    return {top_k, fixture.matrix<double>("router.noise_weight"), fixture.number("noise_epsilon")};
  }

  void expect_task_and_importance() {
    const auto undrawn = tape;
    fixture.expect(task_values(layer, x, fixture.matrix<double>("dy"), tape));
    tape = undrawn;
    fixture.expect(loss_values("aux.importance_cv2", layer, x, tape, importance));
  }

  void expect_load(const moe::LoadLoss& load) {
    const auto undrawn = tape;
    fixture.expect(loss_values("aux.load_cv2", layer, x, undrawn, load));
    fixture.expect(loss_values("aux.total", layer, x, undrawn, Losses{importance, load}));
    layer.forward(x, tape);
    fixture.expect("load", flat(load.load_of_experts(tape.routing)));
    fixture.finish();
  }
};

class Shazeer : public testing::TestWithParam<const char*> {};

TEST_P(Shazeer, Fixture) {
  Setting setting(GetParam(), {.weights = ChoiceWeights::softmax_of_chosen()});
  setting.expect_task_and_importance();
  setting.expect_load({.coefficient = 1, .variance = moe::Variance::unbiased});
}

INSTANTIATE_TEST_SUITE_P(Shazeer, Shazeer,
                         testing::Values("shazeer_train", "shazeer_eval", "shazeer_E1", "shazeer_k_equals_E"));

TEST(Shazeer, SoftmaxBeforeTopK) {
  Setting setting("noisy_topk_softmax_first", {.weights = ChoiceWeights::renormalized({.epsilon = 1e-6})});
  setting.expect_task_and_importance();
  setting.expect_load({.coefficient = 1,
                       .threshold = moe::LoadLoss::Threshold::among_probabilities,
                       .variance = moe::Variance::unbiased});
}

}  // namespace shazeer_test
