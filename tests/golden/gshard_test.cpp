// GShard and ST-MoE: the later choices of a token are sent by a rule, within groups of their own capacity.
#include <string>

#include "golden.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/optional_choices.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"

namespace gshard_test {

using namespace golden;
using moe::LoadBalanceLoss;
using moe::OptionalChoices;

constexpr auto scope = LoadBalanceLoss::Scope::sequence;

/// The layer of a file; draws of the first rank, where there are any, are not used by the systems.
template <class X>
struct Setting {
  Fixture fixture;
  Matrix<double> x;
  Batch<double> batch;
  Layer<moe::Router<double>, OptionalChoices, X> layer;
  typename decltype(layer)::Tape tape{1};

  Setting(const std::string& name, const OptionalChoices& gate, const moe::DispatchOptions& dispatching)
      : Setting(Fixture(name), gate, dispatching) {}

  Setting(Fixture file, const OptionalChoices& gate, const moe::DispatchOptions& dispatching)
      : fixture(std::move(file)),
        x(fixture.matrix<double>("x")),
        batch(x),
        layer(router_of<double>(fixture), gate, experts_of<X>(fixture), Losses{}, dispatching) {
    batch.group_size = fixture.size("group_size");
    if (!fixture.contains("noise.uniform")) return;
    auto draws = fixture.values<double>("noise.uniform");
    if (fixture.size("k") > 1 && std::cmp_greater(draws.size(), x.rows()))
      draws.erase(draws.begin(), draws.begin() + x.rows());
    tape.random = Random::recorded(draws);
  }

  void expect_task() {
    const auto undrawn = tape;
    Values values = task_values(layer, batch, fixture.matrix<double>("dy"), tape);
    values.erase("slot");  // in the files by expert or by group
    fixture.expect(values);
    tape = undrawn;
  }
};

using Relu = moe::Mlp<double>;

TEST(GShard, Algorithm1) {
  Setting<Relu> setting("gshard_algorithm1", moe::gshard_top2(), moe::Capacity::exactly(3));
  setting.expect_task();
  // GShard's text does not multiply by E^2.
  LoadBalanceLoss balance{.coefficient = 1.0 / 16, .scope = scope};
  setting.fixture.expect(loss_values("aux.balance", setting.layer, setting.batch, setting.tape, balance));
  setting.fixture.finish({"slot"});
}

/// lucidrains' mixture-of-experts.
template <class X>
void expect_lucidrains(const std::string& name) {
  Fixture file(name);
  const std::string policy = file.text("second_policy");
  OptionalChoices gate{.top_k = {.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = 1e-9})},
                       .send = policy == "all"      ? OptionalChoices::Send::always
                               : policy == "random" ? OptionalChoices::Send::sampled
                                                    : OptionalChoices::Send::above_threshold,
                       .threshold = file.number("second_threshold")};
  const auto capacity = moe::Capacity::mesh(file.number("capacity_factor"), file.size("min_capacity"));
  Setting<X> setting(std::move(file), gate, capacity);
  setting.expect_task();
  setting.fixture.expect(loss_values("aux.balance", setting.layer, setting.batch, setting.tape,
                                     LoadBalanceLoss{.coefficient = 1, .scope = scope}));
  setting.fixture.finish({"slot"});
}

TEST(GShard, LucidrainsAll) { expect_lucidrains<Relu>("gshard_top2_all"); }
TEST(GShard, LucidrainsRandom) { expect_lucidrains<Relu>("gshard_top2_random"); }
TEST(GShard, LucidrainsThreshold) { expect_lucidrains<moe::Mlp<double, moe::Gelu>>("gshard_top2_threshold"); }
TEST(GShard, LucidrainsOneToken) { expect_lucidrains<Relu>("gshard_top2_T1"); }

class StMoe : public testing::TestWithParam<const char*> {};

TEST_P(StMoe, Fixture) {
  Fixture file(GetParam());
  moe::DispatchOptions dispatching = moe::Capacity::mesh(file.number("capacity_factor"), file.size("min_capacity"));
  dispatching.straight_through = file.flag("straight_through_dispatch");
  OptionalChoices gate = moe::st_moe_top_n(file.size("k"));
  gate.threshold = file.number("threshold");
  Setting<moe::GeGlu<double>> setting(std::move(file), gate, dispatching);
  setting.expect_task();
  const LoadBalanceLoss balance{.coefficient = 1, .count = LoadBalanceLoss::Count::kept_first_choices, .scope = scope};
  LoadBalanceLoss small = balance;
  small.coefficient = 1e-2;
  auto& [fixture, x, batch, layer, tape] = setting;
  fixture.expect(loss_values("aux.balance", layer, batch, tape, balance));
  fixture.expect(loss_values("aux.z", layer, batch, tape, moe::RouterZLoss{.coefficient = 1}));
  fixture.expect(loss_values("aux.total", layer, batch, tape, Losses{small, moe::RouterZLoss{.coefficient = 1e-3}}));
  fixture.finish({"slot"});
}

INSTANTIATE_TEST_SUITE_P(StMoe, StMoe,
                         testing::Values("st_moe_top2", "st_moe_top2_straight_through", "st_moe_top3_overflow"));

}  // namespace gshard_test
