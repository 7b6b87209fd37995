// How long does a training step of a layer take, forward and backward, and which share of what the machine allows does
// it reach?
#include "support/layers.hpp"

namespace {

template <class X>
void train(benchmark::State& state, std::type_identity<X>) {
  const bench::Shape shape = bench::shape_of(state);
  const auto layer = bench::make_layer<X>(shape);
  auto gradient = moe::zeros_like(layer);
  const moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width);
  moe::Matrix<float> y_TD(shape.tokens, shape.width), dx_TD(shape.tokens, shape.width);
  typename decltype(gradient)::Tape tape(1);
  for (auto _ : state) {
    layer.forward_into(x_TD, y_TD, tape);
    layer.backward_into(x_TD, y_TD, tape, dx_TD, gradient);
  }
  // Three products; the weights are read twice, their gradient is read and written.
  bench::report(state, static_cast<double>(shape.tokens), 3 * bench::forward_flops(layer, shape),
                4 * bench::weight_bytes(layer, tape));
}

BENCHMARK_CAPTURE(train, A_swiglu, std::type_identity<moe::SwiGlu<float>>{})->Apply(bench::shapes_a);
BENCHMARK_CAPTURE(train, B_swiglu, std::type_identity<moe::SwiGlu<float>>{})->Apply(bench::shapes_b);
BENCHMARK_CAPTURE(train, C_relu, std::type_identity<moe::Mlp<float>>{})->Apply(bench::shapes_c);
BENCHMARK_CAPTURE(train, D_gelu, std::type_identity<moe::Mlp<float, moe::GeluTanh>>{})->Apply(bench::shapes_d);

}  // namespace

MOE_BENCHMARK_MAIN()
