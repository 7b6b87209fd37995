#include <iostream>
#include <moe/moe.hpp>

int main() {
  std::mt19937_64 rng{42};
  const moe::Index tokens = 256, width = 16, hidden = 32, experts = 4;
  const moe::Matrix<float> x = moe::random_matrix<float>(tokens, width, rng);
  const moe::Matrix<float> target = x.cwiseMax(0.0f).rowwise().reverse();  // to be learned
  const float share = 1.0f / static_cast<float>(x.size());

  moe::Layer layer{moe::Router<float>::random(experts, width, rng), moe::TopK{.k = 2},
                   moe::make_experts<moe::SwiGlu<float>>(experts, width, hidden, rng),
                   moe::Losses{moe::LoadBalanceLoss{}, moe::RouterZLoss{}}, moe::Capacity::factor(1.25)};
  moe::AdamW adam{layer, {.learning_rate = 1e-2}};
  decltype(layer)::Tape tape{/*seed=*/7};
  auto gradient = moe::zeros_like(layer);

  std::cout.precision(2);
  for (int step = 0; step <= 200; ++step) {
    const moe::Matrix<float> error = layer.forward(x, tape) - target;
    if (step % 50 == 0) std::cout << "step " << step << ": error " << error.squaredNorm() * share << '\n';
    moe::set_zero(gradient);
    layer.backward(x, 2 * share * error, tape, gradient);
    if (!adam.step(layer, gradient)) return 1;  // refuses a gradient that is not finite
  }
  std::cout << moe::load_of(tape.plan) << '\n';
}
