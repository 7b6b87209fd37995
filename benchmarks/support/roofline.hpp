// What every benchmark measures itself against: the FMA peak of this machine, probed when the program starts.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <moe/executor.hpp>
#include <string>
#include <vector>

namespace bench {

/// Multiply-adds on registers alone: as many independent chains as hide the latency. Returns GFLOP/s.
inline double probe_fma() {
  using namespace Eigen::internal;  // the packet operations
  using Packet = packet_traits<float>::type;
  constexpr int chains = 12, rounds = 20000;
  constexpr double lanes = packet_traits<float>::size;
  Packet sum[chains];
  for (Packet& s : sum) s = pset1<Packet>(1.0f);
  const Packet factor = pset1<Packet>(0.999f), term = pset1<Packet>(1e-3f);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sum[c] = pmadd(sum[c], factor, term);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  for (Packet& s : sum) benchmark::DoNotOptimize(s);
  return 2 * lanes * chains * rounds / seconds.count() * 1e-9;
}

/// GFLOP/s of all threads of the default executor together: the best of several probes, taken once.
inline double peak_gflops() {
  static const double peak = [] {
#ifdef _OPENMP
    const moe::Index threads = omp_get_max_threads();
#else
    const moe::Index threads = 1;
#endif
    double best = 0;
    for (int attempt = 0; attempt < 30; ++attempt) {
      std::vector<double> gflops(static_cast<std::size_t>(threads));
      moe::DefaultExecutor{}.parallel_for(threads,
                                          [&](moe::Index i) { gflops[static_cast<std::size_t>(i)] = probe_fma(); });
      best = (std::max)(best, *std::max_element(gflops.begin(), gflops.end()) * static_cast<double>(threads));
    }
    return best;
  }();
  return peak;
}

/// Counters of one iteration's worth of work: tokens/s, GFLOP/s, and the share of the peak in percent.
inline void report(benchmark::State& state, double tokens, double flops) {
  using benchmark::Counter;
  state.counters["tokens/s"] = Counter(tokens, Counter::kIsIterationInvariantRate);
  if (flops > 0) {
    state.counters["GFLOP/s"] = Counter(flops * 1e-9, Counter::kIsIterationInvariantRate);
    state.counters["%peak"] = Counter(100 * flops * 1e-9 / peak_gflops(), Counter::kIsIterationInvariantRate);
  }
}

}  // namespace bench

/// BENCHMARK_MAIN, with the peak in the context that is printed first.
#define MOE_BENCHMARK_MAIN()                                                              \
  int main(int argc, char** argv) {                                                       \
    benchmark::Initialize(&argc, argv);                                                   \
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;                     \
    benchmark::AddCustomContext("fma_peak_gflops", std::to_string(bench::peak_gflops())); \
    benchmark::RunSpecifiedBenchmarks();                                                  \
    benchmark::Shutdown();                                                                \
  }
