// Megatron-Core's router on given logits: softmax before and after top-k, dropping by weight,
// sigmoid scores with groups, Sinkhorn.
#include <string>
#include <vector>

#include "golden.hpp"
#include "moe/gating/prioritized.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sinkhorn.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"

namespace megatron_test {

using namespace golden;
using moe::LoadBalanceLoss;

/// How often each expert is among the k most probable of a token.
Vector<double> counts_of_plain_top_k(const Routing<double>& routing) {
  Vector<double> counts = Vector<double>::Zero(routing.experts());
  std::vector<Index> best(at(routing.choices_per_token));
  for (Index t = 0; t < routing.tokens(); ++t) {
    moe::detail::top_k(routing.probabilities_TE.row(t).data(), routing.experts(), routing.choices_per_token,
                       best.data());
    for (const Index e : best) counts(e) += 1;
  }
  return counts;
}

/// A forward pass, and the gradient of sum(combine * d_combine), by its gradient of every slot's weight.
template <class L>
Values slot_weight_values(Fixture& fixture, const L& layer, const Matrix<double>& logits, typename L::Tape& tape) {
  const Matrix<double> d_combine = fixture.matrix<double>("d_combine");
  layer.forward(logits, tape);
  Values values = pass_values<L>(tape);
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
  return values;
}

template <class L>
void expect_fixture(Fixture& fixture, const L& layer,
                    LoadBalanceLoss::Count count = LoadBalanceLoss::Count::all_choices_share) {
  const Matrix<double> logits = fixture.matrix<double>("logits");
  typename L::Tape tape;
  Values values = slot_weight_values(fixture, layer, logits, tape);
  values["aux.scores"] = flat(tape.routing.probabilities_TE);
  values["aux.counts"] = flat(counts_of_plain_top_k(tape.routing));
  fixture.expect(values);
  fixture.expect(loss_values("aux.balance", layer, logits, {}, LoadBalanceLoss{.coefficient = 1, .count = count}));
  fixture.expect(loss_values("aux.z", layer, logits, {}, moe::RouterZLoss{.coefficient = 1}));
  fixture.finish();
}

TEST(Megatron, SoftmaxAfterTopK) {
  Fixture fixture("megatron_softmax_post");
  expect_fixture(fixture, logits_layer(fixture.size("E"), TopK{.k = fixture.size("k")}));
}

TEST(Megatron, SoftmaxBeforeTopKAndDroppingByWeight) {
  Fixture fixture("megatron_softmax_pre_drop");
  const TopK top_k{.k = fixture.size("k"), .weights = ChoiceWeights::probabilities()};
  expect_fixture(fixture, logits_layer(fixture.size("E"), moe::Prioritized{top_k, moe::Priority::weight},
                                       moe::Capacity::factor(fixture.number("capacity_factor"))));
}

TEST(Megatron, SigmoidScoresWithBiasAndGroups) {
  Fixture fixture("megatron_sigmoid_bias_groups");
  const moe::ScoredTopK gate{.k = fixture.size("k"),
                             .scores = moe::Scores::sigmoid({.scale = fixture.number("scaling_factor")}),
                             .selection_bias_E = fixture.matrix<double>("router.correction_bias"),
                             .groups = fixture.size("n_group"),
                             .groups_used = fixture.size("topk_group"),
                             .group_score = moe::ScoredTopK::GroupScore::best_share};
  expect_fixture(fixture, logits_layer(fixture.size("E"), gate), LoadBalanceLoss::Count::plain_top_k_share);
}

TEST(Megatron, Sinkhorn) {
  Fixture fixture("megatron_sinkhorn_k1");
  const auto layer = logits_layer(fixture.size("E"), moe::Sinkhorn{.k = 1});
  const Matrix<double> logits = fixture.matrix<double>("logits");
  typename decltype(layer)::Tape tape(1);
  fixture.expect(slot_weight_values(fixture, layer, logits, tape));
  Matrix<double> transport;
  layer.gate.transport(tape.routing, transport);
  fixture.expect("sinkhorn", flat(transport));
  fixture.finish();
}

}  // namespace megatron_test
