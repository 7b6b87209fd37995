// What does an auxiliary loss cost, value and gradient? T = 4096 tokens, noisy top-2 of E experts.
#include <moe/moe.hpp>

#include "support/data.hpp"
#include "support/roofline.hpp"

namespace {

using moe::Index;

constexpr Index tokens = 4096, width = 64;

template <class Loss>
void value_and_gradient(benchmark::State& state, Loss loss) {
  const moe::Matrix<float> x_TD = bench::random_tokens(tokens, width);
  const moe::Batch<float> batch(x_TD);
  moe::Routing<float> routing = bench::random_routing(batch, state.range(0)), drouting;
  moe::Random random(1);
  moe::FixedNoise{moe::TopK{.k = 2}, 1.0}.route(batch, routing, &random);
  drouting.reset_gradient(routing);
  for (auto _ : state) {
    benchmark::DoNotOptimize(loss.value(routing));
    loss.backward(routing, 1e-2f, drouting);
  }
  bench::report(state, static_cast<double>(tokens), 0);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgName("E")->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const Index experts : {8, 64, 256}) b->Arg(experts);
}

BENCHMARK_CAPTURE(value_and_gradient, importance, moe::ImportanceLoss{})->Apply(sizes);
BENCHMARK_CAPTURE(value_and_gradient, load, moe::LoadLoss{})->Apply(sizes);
BENCHMARK_CAPTURE(value_and_gradient, load_balance, moe::LoadBalanceLoss{})->Apply(sizes);
BENCHMARK_CAPTURE(value_and_gradient, router_z, moe::RouterZLoss{})->Apply(sizes);

}  // namespace

MOE_BENCHMARK_MAIN()
