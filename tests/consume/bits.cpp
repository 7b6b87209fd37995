// Prints the bits of a small training run: the same whether functions come from headers or from the library.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <moe/moe.hpp>
#include <random>

template <class S>
void train(const char* name) {
  std::mt19937_64 rng{42};
  moe::DispatchOptions dispatching = moe::Capacity::factor(0.9);
  dispatching.pass_dropped = true;
  moe::Layer layer{moe::Router<S>::random(4, 21, rng), moe::TopK{.k = 2},
                   moe::make_experts<moe::SwiGlu<S>>(4, 21, 37, rng), moe::Losses{moe::LoadBalanceLoss{}}, dispatching};
  const moe::Matrix<S> x_TD = moe::random_matrix<S>(40, 21, rng), dy_TD = moe::random_matrix<S>(40, 21, rng);
  moe::AdamW adam{layer};
  moe::Sgd sgd{layer, {.momentum = 0.9}};
  typename decltype(layer)::Tape tape{7};
  bool stepped = true;
  for (int step = 0; step < 5; ++step) {
    auto gradient = moe::zeros_like(layer);
    static_cast<void>(layer.forward(x_TD, tape));
    static_cast<void>(layer.backward(x_TD, dy_TD, tape, gradient));
    moe::clip_global_norm(gradient, 1);
    stepped = adam.step(layer, gradient) && sgd.step(layer, gradient) && stepped;
  }
  std::uint64_t hash = 1469598103934665603u;
  for (const double value : moe::flatten(layer)) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    hash = (hash ^ bits) * 1099511628211u;
  }
  std::printf("%s %s %016llx\n", name, stepped ? "trained" : "failed", static_cast<unsigned long long>(hash));
}

int main() {
  train<float>("float");
  train<double>("double");
}
