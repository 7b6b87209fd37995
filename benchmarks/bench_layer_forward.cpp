// How long does a layer take, and which share of what the machine allows does it reach?
#include "support/layers.hpp"

namespace {

template <class X>
void forward(benchmark::State& state, std::type_identity<X>) {
  const bench::Shape shape = bench::shape_of(state);
  const auto layer = bench::make_layer<X>(shape);
  const moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width);
  moe::Matrix<float> y_TD(shape.tokens, shape.width);
  typename std::remove_const_t<decltype(layer)>::Tape tape;
  tape.keep_activations = false;
  for (auto _ : state) layer.forward_into(x_TD, y_TD, tape);
  bench::report(state, static_cast<double>(shape.tokens), bench::forward_flops(layer, shape),
                bench::weight_bytes(layer, tape));
}

BENCHMARK_CAPTURE(forward, A_swiglu, std::type_identity<moe::SwiGlu<float>>{})->Apply(bench::shapes_a);
BENCHMARK_CAPTURE(forward, B_swiglu, std::type_identity<moe::SwiGlu<float>>{})->Apply(bench::shapes_b);
BENCHMARK_CAPTURE(forward, C_relu, std::type_identity<moe::Mlp<float>>{})->Apply(bench::shapes_c);
BENCHMARK_CAPTURE(forward, D_gelu, std::type_identity<moe::Mlp<float, moe::GeluTanh>>{})->Apply(bench::shapes_d);

}  // namespace

MOE_BENCHMARK_MAIN()
