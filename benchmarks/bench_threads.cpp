// What do more threads bring? The time of a pass by threads, and how many times faster it is than with one thread,
// which is measured in turn with it; efficiency is that divided by the threads.
#include "support/layers.hpp"
#include "support/rounds.hpp"

namespace {

enum class Pass { forward, train };

void by_threads(benchmark::State& state, Pass pass) {
  const moe::Index threads = state.range(1), most = bench::default_threads();
  const bench::Shape shape{1024, 3584, 8, 2, state.range(0)};
  const auto layer = bench::make_layer<moe::SwiGlu<float>>(shape);
  auto gradient = moe::zeros_like(layer);
  const moe::Matrix<float> x_TD = bench::random_tokens(shape.tokens, shape.width);
  moe::Matrix<float> y_TD(shape.tokens, shape.width), dx_TD(shape.tokens, shape.width);
  typename decltype(gradient)::Tape tape(1);
  const auto run = [&](moe::Index count) {
    bench::set_threads(static_cast<int>(count));
    layer.forward_into(x_TD, y_TD, tape);
    if (pass == Pass::train) layer.backward_into(x_TD, x_TD, tape, dx_TD, gradient);
  };
  run(threads);
  std::vector<double> alone, together;
  for (auto _ : state) {
    alone.push_back(bench::seconds_of([&] { run(1); }));
    together.push_back(bench::seconds_of([&] { run(threads); }));
    state.SetIterationTime(together.back());
  }
  bench::set_threads(static_cast<int>(most));
  const double times_faster = bench::median_ratio(alone, together);
  state.counters["times_faster"] = times_faster;
  state.counters["%_efficiency"] = 100 * times_faster / static_cast<double>(threads);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"T", "threads"})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(7);
  for (const moe::Index tokens : {256, 1024})
    for (moe::Index threads = 1; threads <= bench::default_threads(); ++threads) b->Args({tokens, threads});
}

BENCHMARK_CAPTURE(by_threads, forward, Pass::forward)->Apply(sizes);
BENCHMARK_CAPTURE(by_threads, train, Pass::train)->Apply(sizes);

}  // namespace

MOE_BENCHMARK_MAIN()
