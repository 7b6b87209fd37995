// V-MoE: noise of fixed strength, plain probabilities as weights, capacity, losses of population variance without eps.
#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/fixed_noise.hpp"
#include "moe/gating/prioritized.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/smooth_load.hpp"

namespace v_moe_test {

using namespace golden;

template <class G>
void expect_fixture(Fixture& fixture, const G& gate) {
  using Expert = moe::Mlp<double, moe::Gelu>;
  const Layer layer{router_of<double>(fixture), gate, experts_of<Expert>(fixture),
                    moe::Capacity::factor(fixture.number("capacity_factor"))};
  const typename decltype(layer)::Tape undrawn(Random::recorded(fixture.values<double>("noise.normal")));
  const Matrix<double> x = fixture.matrix<double>("x");
  auto tape = undrawn;
  Values values = task_values(layer, x, fixture.matrix<double>("dy"), tape);
  Routing<double> clean = tape.routing;
  clean.noise.drawn = false;
  moe::Softmax{}.route(Batch<double>(x), clean, nullptr);
  values["importance"] = flat(clean.probabilities_TE.colwise().sum());
  fixture.expect(values);

  const moe::ImportanceLoss importance{
      .coefficient = 1, .source = moe::ImportanceLoss::Source::clean_probabilities, .epsilon = 0};
  const moe::LoadLoss load{.coefficient = 1, .threshold = moe::LoadLoss::Threshold::kth_largest, .epsilon = 0};
  fixture.expect(loss_values("aux.importance", layer, x, undrawn, importance));
  fixture.expect(loss_values("aux.load", layer, x, undrawn, load));
  fixture.expect(loss_values("aux.gshard", layer, x, undrawn, moe::LoadBalanceLoss{.coefficient = 1}));
  values["load"] = flat(load.load_of_experts(tape.routing) / static_cast<double>(x.rows()));  // a mean there
  fixture.expect("load", values["load"]);
  fixture.finish();
}

TopK top_k(const Fixture& fixture) { return {.k = fixture.size("k"), .weights = ChoiceWeights::probabilities()}; }

TEST(VMoe, TokenOrder) {
  Fixture fixture("v_moe_token_order");
  expect_fixture(fixture, moe::FixedNoise{top_k(fixture), fixture.number("noise_std")});
}

TEST(VMoe, BatchPrioritised) {
  Fixture fixture("v_moe_batch_prioritised");
  expect_fixture(fixture, moe::FixedNoise{moe::Prioritized{top_k(fixture), moe::Priority::best_probability},
                                          fixture.number("noise_std")});
}

}  // namespace v_moe_test
