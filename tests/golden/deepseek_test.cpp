// DeepSeek-V2 and V3: sigmoid scores, a bias that only selects, limited groups, a shared expert; Qwen2's shared expert.
#include <string>
#include <type_traits>
#include <vector>

#include "golden.hpp"
#include "moe/expert/glu.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/layer/shared.hpp"
#include "moe/loss/device_balance.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/optim/bias_update.hpp"
#include "moe/routing/load.hpp"

namespace deepseek_test {

using namespace golden;
using moe::ScoredTopK;

template <class S>
moe::SwiGlu<S> shared_expert(Fixture& fixture) {
  return {fixture.matrix<S>("shared.w1"), fixture.matrix<S>("shared.w3"), fixture.matrix<S>("shared.w2")};
}

/// The outputs and all gradients of the routed experts' layer with the shared expert.
template <class SomeShared>
void expect_task(Fixture& fixture, const SomeShared& shared) {
  using S = typename SomeShared::Scalar;
  const Matrix<S> x = fixture.matrix<S>("x"), dy = fixture.matrix<S>("dy");
  typename SomeShared::Tape tape;
  Values values = task_values(shared, x, dy, tape);
  values["scores"] = flat(tape.routing.scores_TE);
  fixture.expect(values);
}

template <class S>
void expect_deepseek(const std::string& name) {
  Fixture fixture(name);
  const ScoredTopK gate{.k = fixture.size("k"),
                        .scores = moe::Scores::sigmoid({.normalize = fixture.flag("renormalize"),
                                                        .scale = fixture.number("routed_scaling_factor")}),
                        .selection_bias_E = fixture.matrix<double>("router.correction_bias"),
                        .groups = fixture.size("n_group"),
                        .groups_used = fixture.size("topk_group")};
  const Layer routed{router_of<S>(fixture), gate, experts_of<moe::SwiGlu<S>>(fixture)};
  expect_task(fixture, moe::Shared{routed, shared_expert<S>(fixture)});
  fixture.finish();
}

TEST(DeepSeek, V3) {
  for (const char* name : {"deepseek_v3_basic", "deepseek_v3_logits80", "deepseek_v3_nonorm_1group"})
    expect_deepseek<double>(name);
}

TEST(DeepSeek, V3InSinglePrecision) { expect_deepseek<float>("f32_deepseek_v3"); }

TEST(Qwen2, SharedExpertWithGate) {
  for (const char* name : {"qwen2_moe_shared_norm", "qwen2_moe_shared_nonorm"}) {
    Fixture fixture(name);
    const TopK gate{
        .k = fixture.size("k"),
        .weights = fixture.flag("renormalize") ? ChoiceWeights::renormalized() : ChoiceWeights::probabilities()};
    const Layer routed{router_of<double>(fixture), gate, experts_of<moe::SwiGlu<double>>(fixture)};
    const moe::SigmoidMix<double> mix{fixture.matrix<double>("shared.gate.weight")};
    expect_task(fixture, moe::Shared{routed, shared_expert<double>(fixture), mix});
    const moe::LoadBalanceLoss balance{.coefficient = 1, .count = moe::LoadBalanceLoss::Count::all_choices};
    fixture.expect(loss_values("aux.balance", routed, fixture.matrix<double>("x"), {}, balance));
    fixture.finish();
  }
}

TEST(DeepSeek, BiasUpdate) {
  Fixture fixture("aux_loss_free_bias");
  auto layer = logits_layer(fixture.size("E"),
                            ScoredTopK{.k = fixture.size("k"), .scores = moe::Scores::sigmoid({.epsilon = 0})});
  layer.gate.selection_bias_E.setZero(fixture.size("E"));
  const auto steps = static_cast<std::uint64_t>(fixture.size("steps"));
  for (std::uint64_t step = 0; step <= steps; ++step) {
    fixture.step = step;
    fixture.expect("bias", flat(layer.gate.selection_bias_E));
    if (step == steps) break;
    decltype(layer)::Tape tape;
    layer.forward(fixture.matrix<double>("logits"), tape);
    fixture.expect(pass_values<std::remove_const_t<decltype(layer)>>(tape));
    const moe::Load load = moe::load_of(tape.plan);
    fixture.expect("max_violation", std::vector<double>{load.max_violation});
    update_bias(layer.gate.selection_bias_E, load, {.rate = fixture.number("update_rate")});
  }
  fixture.finish();
}

TEST(DeepSeek, BalanceLosses) {
  Fixture fixture("deepseek_balance");
  const auto layer = logits_layer(fixture.size("E"), TopK{.k = fixture.size("k")});
  const Matrix<double> logits = fixture.matrix<double>("logits");
  Batch<double> batch = logits;
  batch.group_size = fixture.size("group_size");
  using Balance = moe::LoadBalanceLoss;
  using Device = moe::DeviceBalanceLoss;
  const Index devices = fixture.size("device_groups");
  fixture.expect(loss_values(
      "aux.expert", layer, batch, {},
      Balance{.coefficient = 1, .count = Balance::Count::all_choices_share, .scope = Balance::Scope::sequence}));
  fixture.expect(loss_values("aux.device", layer, batch, {}, Device{.coefficient = 1, .devices = devices}));
  fixture.expect(loss_values("aux.communication", layer, batch, {},
                             Device{.coefficient = 1, .devices = devices, .kind = Device::Kind::communication}));
  decltype(layer)::Tape tape;
  layer.forward(batch, tape);
  Values values = pass_values<std::remove_const_t<decltype(layer)>>(tape);
  values["scores"] = values["probs"];
  fixture.expect(values);
  fixture.finish({"P", "f"});  // parts of the losses
}

}  // namespace deepseek_test
