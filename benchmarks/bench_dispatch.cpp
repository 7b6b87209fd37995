// What does it cost to plan and to move rows? Bytes/s of dispatch and combine, forward and backward.
#include <moe/moe.hpp>

#include "support/data.hpp"
#include "support/roofline.hpp"

namespace {

using moe::Index;

struct Moved {
  moe::Matrix<float> x_TD, x_ND, y_TD, dx_ND;
  moe::Batch<float> batch;
  moe::Routing<float> routing;
  moe::Plan<float> plan;
  moe::Vector<float> dweight_N;

  explicit Moved(const benchmark::State& state)
      : x_TD(bench::random_tokens(state.range(0), state.range(1))),
        y_TD(x_TD),
        batch(x_TD),
        routing(bench::random_routing(batch, state.range(2))) {
    moe::TopK{.k = 2}.route(batch, routing, nullptr);
    plan.build(batch, routing, moe::Capacity::factor(1.25), true);
    moe::dispatch<float>(x_TD, plan, x_ND);
  }
  double bytes() const { return static_cast<double>(2 * x_ND.size()) * sizeof(float); }
};

void finish(benchmark::State& state, const Moved& moved) {
  bench::report(state, static_cast<double>(state.range(0)), 0);
  state.counters["bytes/s"] = benchmark::Counter(moved.bytes(), benchmark::Counter::kIsIterationInvariantRate);
}

void plan(benchmark::State& state) {
  Moved moved(state);
  for (auto _ : state) moved.plan.build(moved.batch, moved.routing, moe::Capacity::factor(1.25), true);
  bench::report(state, static_cast<double>(state.range(0)), 0);
}

void dispatch(benchmark::State& state) {
  Moved moved(state);
  for (auto _ : state) moe::dispatch<float>(moved.x_TD, moved.plan, moved.x_ND, moe::DefaultExecutor{});
  finish(state, moved);
}

void combine(benchmark::State& state) {
  Moved moved(state);
  for (auto _ : state) moe::combine<float>(moved.x_ND, moved.plan, moved.y_TD, moe::DefaultExecutor{});
  finish(state, moved);
}

void combine_backward(benchmark::State& state) {
  Moved moved(state);
  for (auto _ : state)
    moe::combine_backward<float>(moved.y_TD, moved.plan, moved.x_ND, moved.dx_ND, moved.dweight_N,
                                 moe::DefaultExecutor{});
  finish(state, moved);
}

void dispatch_backward(benchmark::State& state) {
  Moved moved(state);
  for (auto _ : state) moe::dispatch_backward<float>(moved.x_ND, moved.plan, moved.y_TD, moe::DefaultExecutor{});
  finish(state, moved);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"T", "D", "E"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  b->Args({1024, 1024, 8})->Args({4096, 512, 64})->Args({4096, 512, 1024});
}

BENCHMARK(plan)->Apply(sizes);
BENCHMARK(dispatch)->Apply(sizes);
BENCHMARK(combine)->Apply(sizes);
BENCHMARK(combine_backward)->Apply(sizes);
BENCHMARK(dispatch_backward)->Apply(sizes);

}  // namespace

MOE_BENCHMARK_MAIN()
