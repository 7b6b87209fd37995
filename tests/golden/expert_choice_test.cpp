// Expert choice: every expert takes the tokens of its best scores.
#include "moe/gating/expert_choice.hpp"
#include "golden.hpp"
#include "moe/expert/mlp.hpp"

namespace expert_choice_test {

using namespace golden;

class ExpertChoice : public testing::TestWithParam<const char*> {};

TEST_P(ExpertChoice, Fixture) {
  Fixture fixture(GetParam());
  const Layer layer{router_of<double>(fixture), moe::ExpertChoice{.factor = fixture.number("capacity_factor")},
                    experts_of<moe::Mlp<double, moe::Gelu>>(fixture)};
  decltype(layer)::Tape tape;
  const Matrix<double> x = fixture.matrix<double>("x");
  Values values = task_values(layer, x, fixture.matrix<double>("dy"), tape);

  const Index experts = fixture.size("E"), taken = layer.gate.slots(x.rows(), experts);
  Matrix<double> index(experts, taken), weight(experts, taken);
  Vector<double> coverage = Vector<double>::Zero(x.rows());
  for (const auto& c : tape.routing.choices) {
    index(c.expert, c.rank) = static_cast<double>(c.token);
    weight(c.expert, c.rank) = c.weight;
    coverage(c.token) += 1;
  }
  values["capacity"] = {static_cast<double>(taken)};
  values["ec.index"] = flat(index);
  values["ec.weight"] = flat(weight);
  values["token_coverage"] = flat(coverage);
  fixture.expect(values);
  fixture.finish();
}

INSTANTIATE_TEST_SUITE_P(ExpertChoice, ExpertChoice, testing::Values("expert_choice_cf2", "expert_choice_cf1_T1"));

}  // namespace expert_choice_test
