// What does this machine allow? Multiply-adds on registers, and memory read, or read and written back, in several
// streams, by threads.
#include <moe/moe.hpp>

#include "support/roofline.hpp"

namespace {

void limit(benchmark::State& state, double (*probe)(), const char* unit) {
  double best = 0;
  for (auto _ : state) best = (std::max)(best, bench::best_rate(state.range(0), probe, 10));
  state.counters[unit] = best;
}

void threads(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->Iterations(1);
  for (moe::Index count = 1; count <= bench::default_threads(); ++count) b->Arg(count);
}

BENCHMARK_CAPTURE(limit, multiply_add, bench::probe_fma, "GFLOP/s")->Apply(threads);
BENCHMARK_CAPTURE(limit, read, bench::probe_read, "GB/s")->Apply(threads);
BENCHMARK_CAPTURE(limit, update, bench::probe_update, "GB/s")->Apply(threads);

}  // namespace

MOE_BENCHMARK_MAIN()
