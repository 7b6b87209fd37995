// Switch: one expert a token, weighed with its probability; a token over its group's capacity passes as p * x.
#include <string>
#include <string_view>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/switch_top1.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"

namespace switch_test {

using namespace golden;
using moe::LoadBalanceLoss;

template <class S>
void expect_fixture(const std::string& name) {
  Fixture fixture(name);
  auto router = router_of<S>(fixture);
  typename Layer<moe::Router<S>, TopK, moe::Mlp<S>>::Tape tape;
  if (fixture.contains("noise.uniform")) {
    router.jitter = fixture.number("jitter_eps");
    tape.random = Random::recorded(fixture.values<double>("noise.uniform"));
  }
  const Matrix<S> x = fixture.matrix<S>("x"), dy = fixture.matrix<S>("dy");
  Batch<S> batch = x;
  batch.group_size = fixture.size("group_size");
  const auto undrawn = tape;
  moe::DispatchOptions dispatching = moe::Capacity::exactly(fixture.size("capacity"));
  dispatching.pass_dropped = true;
  const Layer layer{router, moe::switch_top1(), experts_of<moe::Mlp<S>>(fixture), Losses{}, dispatching};
  fixture.expect(task_values(layer, batch, dy, tape));

  const auto scope = LoadBalanceLoss::Scope::sequence;
  const LoadBalanceLoss balance{.coefficient = 1, .scope = scope};
  const LoadBalanceLoss system{
      .coefficient = 1, .count = LoadBalanceLoss::Count::dropped_to_first_expert, .scope = scope};
  fixture.expect(loss_values("aux.balance", layer, batch, undrawn, balance));
  fixture.expect(loss_values("aux.balance_system", layer, batch, undrawn, system));
  fixture.expect(loss_values("aux.z", layer, batch, undrawn, moe::RouterZLoss{.coefficient = 1}));
  fixture.finish();
}

class Switch : public testing::TestWithParam<const char*> {};

TEST_P(Switch, Fixture) { expect_fixture<double>(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Switch, Switch,
                         testing::Values("switch_nodrop", "switch_ties", "switch_jitter_train", "switch_overflow",
                                         "switch_all_to_one"));

TEST(Switch, SinglePrecision) { expect_fixture<float>("f32_switch"); }

}  // namespace switch_test
