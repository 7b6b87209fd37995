// Megatron-Core's router on given logits: softmax before and after top-k, dropping by weight.
#include <string>

#include "golden.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"

namespace {

using namespace golden;
using moe::LoadBalanceLoss;

template <class L>
void expect_fixture(Fixture& fixture, const L& layer) {
  const Matrix<double> logits = fixture.matrix<double>("logits"), d_combine = fixture.matrix<double>("d_combine");
  typename L::Tape tape;
  layer.forward(logits, tape);
  Values values = values_of(layer, logits, tape);
  values["aux.scores"] = flat(tape.routing.probabilities_TE);
  values["aux.counts"] = flat(tape.plan.chosen);

  // sum(combine * d_combine), by its gradient of every slot's weight
  Vector<double> dweight_N(tape.plan.slots());
  for (Index slot = 0; slot < tape.plan.slots(); ++slot) {
    const auto& c = tape.routing.choices[at(tape.plan.choice[at(slot)])];
    dweight_N(slot) = d_combine(c.token, c.expert);
  }
  Matrix<double> dlogits(logits.rows(), logits.cols());
  L gradient = moe::zeros_like(layer);
  layer.backward_from_slots(logits, Matrix<double>::Zero(tape.plan.slots(), tape.y_NO.cols()), dweight_N, tape, dlogits,
                            gradient);
  values["grad.logits"] = flat(dlogits);
  fixture.expect(values);

  const LoadBalanceLoss balance{.coefficient = 1, .count = LoadBalanceLoss::Count::all_choices_share};
  fixture.expect(loss_values("aux.balance", layer, logits, {}, balance));
  fixture.expect(loss_values("aux.z", layer, logits, {}, moe::RouterZLoss{.coefficient = 1}));
  fixture.finish();
}

TEST(Megatron, SoftmaxAfterTopK) {
  Fixture fixture("megatron_softmax_post");
  expect_fixture(fixture, logits_layer(fixture.size("E"), TopK{.k = fixture.size("k")}));
}

// An expert that is full keeps the choices of the largest weights, whatever their rank.
TEST(Megatron, SoftmaxBeforeTopKAndDroppingByWeight) {
  Fixture fixture("megatron_softmax_pre_drop");
  const TopK top_k{.k = fixture.size("k"), .weights = ChoiceWeights::probabilities};
  const auto before = [](const auto&, const auto& a, const auto& b) { return a.weight > b.weight; };
  expect_fixture(fixture, logits_layer(fixture.size("E"), Prioritised{top_k, before},
                                       moe::Capacity::factor(fixture.hyper.at("capacity_factor"))));
}

}  // namespace
