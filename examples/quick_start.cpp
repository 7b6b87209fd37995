// Trains a layer of four experts to compute |x|, and prints the losses and the experts' load.
#include <iostream>
#include <random>

#include "moe/moe.hpp"

int main() {
  const moe::Index experts = 4, width = 16, hidden = 32, tokens = 512;
  std::mt19937_64 rng{42};
  moe::Layer layer{moe::Router<float>::random(experts, width, rng),
                   moe::NoisyTopK<float>::zeros(experts, width, {.k = 2}),
                   moe::make_experts<moe::SwiGlu<float>>(experts, width, hidden, rng),
                   moe::Losses{moe::ImportanceLoss{.coefficient = 1e-2}, moe::RouterZLoss{.coefficient = 1e-3}},
                   moe::Capacity::factor(1.25)};
  moe::AdamW adam{layer, {.learning_rate = 1e-2}};
  decltype(layer)::Tape tape{42};  // what a pass leaves for the next; the seed makes it a training pass
  auto gradient = moe::zeros_like(layer);

  moe::Random draw{7};
  const moe::Matrix<float> x =
      moe::Matrix<float>::NullaryExpr(tokens, width, [&] { return static_cast<float>(draw.normal()); });
  for (int step = 0; step <= 200; ++step) {
    const moe::Matrix<float> error = layer.forward(x, tape) - x.cwiseAbs();
    if (step % 50 == 0)
      std::cout << "step " << step << ": task " << error.squaredNorm() / static_cast<float>(error.size())
                << ", auxiliary " << layer.auxiliary_loss(tape) << '\n';
    moe::set_zero(gradient);
    layer.backward(x, error / static_cast<float>(tokens), tape, gradient);
    if (!adam.step(layer, gradient)) return 1;  // the gradient is not finite
  }
  std::cout << moe::load_of(tape.plan) << '\n';
}
