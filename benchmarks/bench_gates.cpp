// What does it cost to decide? Each gate alone, without the router's product: T = 4096 tokens, E experts.
#include <moe/moe.hpp>

#include "support/data.hpp"
#include "support/roofline.hpp"

namespace {

using moe::Index;

constexpr Index tokens = 4096, width = 64;

template <class MakeGate>
void route(benchmark::State& state, MakeGate make_gate) {
  const Index experts = state.range(0);
  const auto gate = make_gate(experts);
  const moe::Matrix<float> x_TD = bench::random_tokens(tokens, width);
  moe::Batch<float> batch(x_TD);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(tokens));
  for (std::size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<std::int64_t>(t % 1000);
  batch.ids = ids;
  moe::Routing<float> routing = bench::random_routing(batch, experts);
  moe::Random random(1);
  for (auto _ : state) {
    routing.choices.clear();
    gate.route(batch, routing, &random);
    benchmark::DoNotOptimize(routing.choices.data());
  }
  bench::report(state, static_cast<double>(tokens), 0);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgName("E")->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const Index experts : {8, 64, 256, 1024}) b->Arg(experts);
}

std::mt19937_64 rng(3);

BENCHMARK_CAPTURE(route, softmax, [](Index) { return moe::Softmax{}; })
    ->ArgName("E")
    ->Arg(8)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(route, switch_top1, [](Index) { return moe::switch_top1(); })->Apply(sizes);
BENCHMARK_CAPTURE(route, top2, [](Index) { return moe::TopK{.k = 2}; })->Apply(sizes);
BENCHMARK_CAPTURE(route, top8, [](Index) { return moe::TopK{.k = 8}; })->Apply(sizes);
BENCHMARK_CAPTURE(route, noisy_top2, [](Index e) {
  return moe::NoisyTopK<float>::zeros(e, width, {.k = 2});
})->Apply(sizes);
BENCHMARK_CAPTURE(route, fixed_noise_top2, [](Index) { return moe::FixedNoise{moe::TopK{.k = 2}, 1.0}; })->Apply(sizes);
BENCHMARK_CAPTURE(route, expert_choice, [](Index) { return moe::ExpertChoice{.factor = 2}; })->Apply(sizes);
BENCHMARK_CAPTURE(route, hash, [](Index e) { return moe::Hash::random(1000, e, rng); })->Apply(sizes);

}  // namespace

MOE_BENCHMARK_MAIN()
