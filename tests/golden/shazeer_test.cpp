// Noisy top-k gating with learned noise, importance and load losses.
#include <set>
#include <string>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/load.hpp"

namespace {

using namespace golden;

constexpr moe::ImportanceLoss importance{.coefficient = 1, .variance = moe::Variance::unbiased};
constexpr moe::LoadLoss load{.coefficient = 1, .variance = moe::Variance::unbiased};

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
    return {top_k, fixture.matrix<double>("router.noise_weight"), fixture.hyper.at("noise_epsilon")};
  }

  void expect_task_and_importance() {
    const auto undrawn = tape;
    fixture.expect(task_values(layer, x, fixture.matrix<double>("dy"), tape));
    tape = undrawn;
    fixture.expect(loss_values("aux.importance_cv2", layer, x, tape, importance));
  }
};

class Shazeer : public testing::TestWithParam<const char*> {};

TEST_P(Shazeer, Fixture) {
  Setting setting(GetParam(), {.weights = ChoiceWeights::softmax_of_chosen});
  setting.expect_task_and_importance();
  auto& [fixture, layer, tape, x] = setting;
  fixture.expect(loss_values("aux.load_cv2", layer, x, tape, load));
  fixture.expect(loss_values("aux.total", layer, x, tape, Losses{importance, load}));
  fixture.finish({"load"});  // seen only as its CV^2
}

INSTANTIATE_TEST_SUITE_P(Shazeer, Shazeer,
                         testing::Values("shazeer_train", "shazeer_eval", "shazeer_E1", "shazeer_k_equals_E"));

// The system's load compares raw logits with thresholds among probabilities; that is not among our losses.
TEST(Shazeer, SoftmaxBeforeTopK) {
  Setting setting("noisy_topk_softmax_first", {.weights = ChoiceWeights::renormalized, .epsilon = 1e-6});
  setting.expect_task_and_importance();
  std::set<std::string> without{"load"};
  for (const std::string loss : {"aux.load_cv2", "aux.total"})
    for (const char* part : {"", ".grad.x", ".grad.router.weight", ".grad.router.noise_weight"})
      without.insert(loss + part);
  setting.fixture.finish(without);
}

}  // namespace
