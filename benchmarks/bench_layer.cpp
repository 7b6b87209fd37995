// How long does a layer take, forward and in training, and which share of the machine's peak does it reach?
#include <moe/moe.hpp>
#include <type_traits>

#include "support/data.hpp"
#include "support/roofline.hpp"

namespace {

using moe::Index;

struct Shape {
  Index width, hidden, experts, k, tokens;
};

Shape shape_of(const benchmark::State& state) {
  return {state.range(0), state.range(1), state.range(2), state.range(3), state.range(4)};
}

template <class X>
auto make_layer(const Shape& shape) {
  std::mt19937_64 rng(42);
  const moe::TopK gate{
      .k = shape.k,
      .weights = shape.k == 1 ? moe::ChoiceWeights::probabilities : moe::ChoiceWeights::softmax_of_chosen};
  return moe::Layer{moe::Router<float>::random(shape.experts, shape.width, rng), gate,
                    moe::make_experts<X>(shape.experts, shape.width, shape.hidden, rng),
                    moe::Losses{moe::LoadBalanceLoss{}, moe::RouterZLoss{}}};
}

/// Multiply-adds count twice; `matrices` is 2 for an Mlp, 3 for a Glu.
double forward_flops(const Shape& shape, double matrices) {
  const auto rows = static_cast<double>(shape.tokens), width = static_cast<double>(shape.width);
  return 2 * rows * width *
         (static_cast<double>(shape.experts) +
          matrices * static_cast<double>(shape.k) * static_cast<double>(shape.hidden));
}

template <class X>
void forward(benchmark::State& state, std::type_identity<X>, double matrices) {
  const Shape shape = shape_of(state);
  const auto layer = make_layer<X>(shape);
  const moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width);
  moe::Matrix<float> y_TD(shape.tokens, shape.width);
  typename std::remove_const_t<decltype(layer)>::Tape tape;
  for (auto _ : state) layer.forward_into(x_TD, y_TD, tape);
  bench::report(state, static_cast<double>(shape.tokens), forward_flops(shape, matrices));
}

/// Forward and backward: three times the products of a forward pass.
template <class X>
void train(benchmark::State& state, std::type_identity<X>, double matrices) {
  const Shape shape = shape_of(state);
  const auto layer = make_layer<X>(shape);
  auto gradient = moe::zeros_like(layer);
  const moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width);
  moe::Matrix<float> y_TD(shape.tokens, shape.width), dx_TD(shape.tokens, shape.width);
  typename decltype(gradient)::Tape tape(1);
  for (auto _ : state) {
    layer.forward_into(x_TD, y_TD, tape);
    layer.backward_into(x_TD, y_TD, tape, dx_TD, gradient);
  }
  bench::report(state, static_cast<double>(shape.tokens), 3 * forward_flops(shape, matrices));
}

// Three shapes: few wide experts, many narrow ones, and Switch.
void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"D", "F", "E", "k", "T"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const Index tokens : {1, 16, 256}) b->Args({1024, 3584, 8, 2, tokens});
  b->Args({512, 512, 64, 2, 4096});
}

BENCHMARK_CAPTURE(forward, swiglu, std::type_identity<moe::SwiGlu<float>>{}, 3.0)->Apply(shapes);
BENCHMARK_CAPTURE(forward, relu, std::type_identity<moe::Mlp<float>>{}, 2.0)
    ->ArgNames({"D", "F", "E", "k", "T"})
    ->Args({768, 3072, 8, 1, 1024})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(train, swiglu, std::type_identity<moe::SwiGlu<float>>{}, 3.0)->Apply(shapes);

}  // namespace

MOE_BENCHMARK_MAIN()
