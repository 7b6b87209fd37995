// Which share of the peak does one expert reach alone, in one thread, by its number of rows?
#include <moe/moe.hpp>
#include <type_traits>

#include "support/data.hpp"
#include "support/roofline.hpp"

namespace {

using moe::Index;

constexpr Index width = 1024, hidden = 2048;

template <class X>
void run(benchmark::State& state, std::type_identity<X>, double matrices, bool train) {
  std::mt19937_64 rng(5);
  const X expert = X::random(width, hidden, rng);
  X gradient = moe::zeros_like(expert);
  const Index rows = state.range(0);
  const moe::Matrix<float> x_ND = bench::random_tokens(rows, width);
  moe::Matrix<float> y_ND(rows, width), dx_ND(rows, width);
  typename X::Tape tape;
  for (auto _ : state) {
    expert.forward(x_ND, y_ND, tape);
    if (train) expert.backward(x_ND, y_ND, tape, dx_ND, gradient);
  }
  const double forward =
      2 * matrices * static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(hidden);
  bench::report(state, static_cast<double>(rows), train ? 3 * forward : forward);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgName("rows")->Unit(benchmark::kMicrosecond);
  for (const Index rows : {1, 16, 256}) b->Arg(rows);
}

using Relu = std::type_identity<moe::Mlp<float>>;
using Gelu = std::type_identity<moe::Mlp<float, moe::Gelu>>;
using GeluTanh = std::type_identity<moe::Mlp<float, moe::GeluTanh>>;
using SwiGlu = std::type_identity<moe::SwiGlu<float>>;

BENCHMARK_CAPTURE(run, relu_forward, Relu{}, 2.0, false)->Apply(sizes);
BENCHMARK_CAPTURE(run, relu_train, Relu{}, 2.0, true)->Apply(sizes);
BENCHMARK_CAPTURE(run, gelu_forward, Gelu{}, 2.0, false)->Apply(sizes);
BENCHMARK_CAPTURE(run, gelu_tanh_forward, GeluTanh{}, 2.0, false)->Apply(sizes);
BENCHMARK_CAPTURE(run, swiglu_forward, SwiGlu{}, 3.0, false)->Apply(sizes);
BENCHMARK_CAPTURE(run, swiglu_train, SwiGlu{}, 3.0, true)->Apply(sizes);

}  // namespace

MOE_BENCHMARK_MAIN()
