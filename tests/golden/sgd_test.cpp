// Five steps of training: task and balance gradients add up on the router, and the optimiser follows them.
#include <cstdint>

#include "golden.hpp"
#include "moe/expert/glu.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/optim/sgd.hpp"

namespace sgd_test {

using namespace golden;
using moe::LoadBalanceLoss;

TEST(Sgd, FiveSteps) {
  Fixture fixture("mixtral_sgd5");
  const double coefficient = fixture.number("balance_coef");
  fixture.step = 0;
  Layer layer{router_of<double>(fixture), TopK{.k = fixture.size("k"), .weights = ChoiceWeights::renormalized()},
              experts_of<moe::SwiGlu<double>>(fixture),
              Losses{LoadBalanceLoss{.coefficient = coefficient, .count = LoadBalanceLoss::Count::all_choices}}};
  moe::Sgd sgd{layer, {.learning_rate = fixture.number("lr")}};
  decltype(layer)::Tape tape;
  auto gradient = moe::zeros_like(layer);
  for (std::uint64_t step = 0; step < static_cast<std::uint64_t>(fixture.size("steps")); ++step) {
    fixture.step = step;
    const Matrix<double> x = fixture.matrix<double>("x"), target = fixture.matrix<double>("target");
    const Matrix<double> residual = layer.forward(x, tape) - target;
    const double mean_square = residual.squaredNorm() / static_cast<double>(residual.size());
    const double auxiliary = layer.auxiliary_loss(tape);
    fixture.expect({{"mse", {mean_square}},
                    {"balance", {auxiliary / coefficient}},
                    {"loss", {mean_square + auxiliary}},
                    {"counts", flat(tape.plan.chosen)}});

    moe::set_zero(gradient);
    layer.backward(x, residual * (2 / static_cast<double>(residual.size())), tape, gradient);
    ASSERT_TRUE(sgd.step(layer, gradient));
    fixture.step = step + 1;
    Values parameters;
    add_parameters(layer, "", parameters);
    fixture.expect(parameters);
  }
  fixture.finish();
}

}  // namespace sgd_test
