// Switch: one expert a token, weighed with its probability; a token over its group's capacity passes as p * x.
#include <string>
#include <string_view>

#include "golden.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/switch_top1.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"

namespace {

using namespace golden;
using moe::LoadBalanceLoss;

/// What p * x of the dropped tokens adds to sum(y * dy), and so to the probabilities' gradient.
template <class S>
struct PassThrough {
  const Plan<S>& plan;
  const Matrix<S>&x_TD, &dy_TD;
  double coefficient = 1;

  static constexpr std::string_view name() { return "pass_through"; }

  S value(const Routing<S>& routing) const {
    S sum = 0;
    for (const Index i : plan.dropped_choices) sum += routing.choices[at(i)].weight * slope(routing, i);
    return sum;
  }

  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    for (const Index i : plan.dropped_choices) drouting.choices[at(i)].weight += scale * slope(routing, i);
  }

  S slope(const Routing<S>& routing, Index i) const {
    const Index t = routing.choices[at(i)].token;
    return x_TD.row(t).dot(dy_TD.row(t));
  }
};

/// p * (one row of `rows` for each dropped token), onto values.
template <class S>
void pass_dropped(const Routing<S>& routing, const Plan<S>& plan, const Matrix<S>& rows, std::vector<double>& values) {
  for (const Index i : plan.dropped_choices) {
    const auto& c = routing.choices[at(i)];
    for (Index d = 0; d < rows.cols(); ++d)
      values[at(c.token * rows.cols() + d)] += static_cast<double>(c.weight * rows(c.token, d));
  }
}

/// The balance loss of one group as the system feeds it: a dropped token counts for expert 0.
struct SystemBalance {
  moe::Capacity capacity;
  LoadBalanceLoss balance{.coefficient = 1};
  double coefficient = 1;

  static constexpr std::string_view name() { return "system_balance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    return balance.value(as_counted(routing));
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    balance.backward(as_counted(routing), scale, drouting);
  }

  template <class S>
  Routing<S> as_counted(Routing<S> routing) const {
    Plan<S> plan;
    plan.build(routing.logits_TE, routing, capacity, true);
    for (const Index i : plan.dropped_choices) routing.choices[at(i)].expert = 0;
    return routing;
  }
};

template <class S>
void expect_fixture(const std::string& name) {
  Fixture fixture(name);
  auto router = router_of<S>(fixture);
  typename Layer<moe::Router<S>, TopK, moe::Mlp<S>>::Tape tape;
  if (fixture.contains("noise.uniform")) {
    router.jitter = fixture.hyper.at("jitter_eps");
    tape.random = Random::recorded(fixture.values<double>("noise.uniform"));
  }
  const Matrix<S> x = fixture.matrix<S>("x"), dy = fixture.matrix<S>("dy");
  Batch<S> batch = x;
  batch.group_size = fixture.size("group_size");
  const auto undrawn = tape;
  const Layer layer{router, moe::switch_top1(), experts_of<moe::Mlp<S>>(fixture),
                    Losses{PassThrough<S>{tape.plan, x, dy}}, moe::Capacity::exactly(fixture.size("capacity"))};
  Values values = task_values(layer, batch, dy, tape);
  pass_dropped(tape.routing, tape.plan, x, values["y"]);
  pass_dropped(tape.routing, tape.plan, dy, values["grad.x"]);
  fixture.expect(values);

  fixture.expect(loss_values("aux.balance", layer, batch, undrawn, LoadBalanceLoss{.coefficient = 1}));
  fixture.expect(loss_values("aux.z", layer, batch, undrawn, moe::RouterZLoss{.coefficient = 1}));
  fixture.expect(loss_values("aux.balance_system", layer, batch, undrawn, SystemBalance{layer.capacity}));
  fixture.finish();
}

class Switch : public testing::TestWithParam<const char*> {};

TEST_P(Switch, Fixture) { expect_fixture<double>(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Switch, Switch,
                         testing::Values("switch_nodrop", "switch_ties", "switch_jitter_train", "switch_overflow",
                                         "switch_all_to_one"));

TEST(Switch, SinglePrecision) { expect_fixture<float>("f32_switch"); }

}  // namespace
