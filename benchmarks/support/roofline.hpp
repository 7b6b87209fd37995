// What every benchmark measures itself against: this machine's FMA peak and memory bandwidth, probed when it starts.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <moe/core/core.hpp>
#include <string>
#include <vector>

#include "machine.hpp"

namespace bench {

/// Multiply-adds on registers alone: as many independent chains as hide the latency. Returns GFLOP/s.
inline double probe_fma() {
  using namespace Eigen::internal;  // the packet operations
  using Packet = packet_traits<float>::type;
  constexpr int chains = 12, rounds = 20000;
  constexpr double lanes = packet_traits<float>::size;
  Packet sum[chains];
  Packet factor = pset1<Packet>(0.999f), term = pset1<Packet>(1e-3f);
  for (Packet& s : sum) {
    s = pset1<Packet>(1.0f);
    benchmark::DoNotOptimize(s);  // or a compiler sees that all chains are the same
  }
  benchmark::DoNotOptimize(factor);
  benchmark::DoNotOptimize(term);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sum[c] = pmadd(sum[c], factor, term);
  }
  for (Packet& s : sum) benchmark::DoNotOptimize(s);  // before the clock: what nobody needs yet may be put off
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return 2 * lanes * chains * rounds / seconds.count() * 1e-9;
}

/// Reads `size` numbers, a multiple of 128, in eight streams at once.
inline void read_streams(const float* memory, std::size_t size) {
  using namespace Eigen::internal;
  using Packet = packet_traits<float>::type;
  constexpr std::size_t streams = 8;
  const std::size_t part = size / streams;
  Packet sum[streams];
  for (Packet& s : sum) s = pset1<Packet>(0.0f);
  for (std::size_t i = 0; i < part; i += packet_traits<float>::size) {
#pragma GCC unroll 8
    for (std::size_t s = 0; s < streams; ++s) sum[s] = padd(sum[s], ploadu<Packet>(&memory[s * part + i]));
  }
  for (Packet& s : sum) benchmark::DoNotOptimize(s);  // what nobody needs yet may be put off
}

/// Reads 256 MiB, more than caches hold. Returns GB/s.
inline double probe_read() {
  const std::vector<float> memory(std::size_t{1} << 26, 1.0f);
  const auto start = std::chrono::steady_clock::now();
  read_streams(memory.data(), memory.size());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return sizeof(float) * static_cast<double>(memory.size()) / seconds.count() * 1e-9;
}

/// Reads 192 MiB, adds to each number and writes it back, in three streams at once, as an optimiser does with a
/// parameter and its moments. Returns GB/s, read and written.
inline double probe_update() {
  using namespace Eigen::internal;
  using Packet = packet_traits<float>::type;
  constexpr std::size_t streams = 3, part = std::size_t{1} << 24, size = streams * part;
  std::vector<float> memory(size, 1.0f);
  const Packet term = pset1<Packet>(1e-3f);
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < part; i += packet_traits<float>::size) {
#pragma GCC unroll 3
    for (std::size_t s = 0; s < streams; ++s) {
      float* const at = &memory[s * part + i];
      pstoreu(at, padd(ploadu<Packet>(at), term));
    }
  }
  benchmark::ClobberMemory();  // before the clock: what nobody needs yet may be put off
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return 2 * sizeof(float) * static_cast<double>(size) / seconds.count() * 1e-9;
}

/// The rate of `threads` threads together: the best of several probes.
inline double best_rate(moe::Index threads, double (*probe)(), int attempts) {
  double best = 0;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    std::vector<double> rates(static_cast<std::size_t>(threads));
    executor_of(threads).parallel_for(threads, [&](moe::Index i) { rates[static_cast<std::size_t>(i)] = probe(); });
    best = (std::max)(best, *std::min_element(rates.begin(), rates.end()) * static_cast<double>(threads));
  }
  return best;
}

/// GFLOP/s and GB/s of all threads of the default executor together, probed once.
inline double peak_gflops() {
  static const double peak = best_rate(default_threads(), probe_fma, 30);
  return peak;
}
inline double peak_gbytes() {
  static const double peak = best_rate(default_threads(), probe_read, 5);
  return peak;
}

/// GB/s that are read and written in turns, by all threads.
inline double update_gbytes(int attempts) { return best_rate(default_threads(), probe_update, attempts); }
inline double peak_update_gbytes() {
  static const double peak = update_gbytes(5);
  return peak;
}

/// The time of multiply-adds at their peak or of reading once, whichever is more.
inline double roofline_seconds(double flops, double bytes) {
  return 1e-9 * (std::max)(flops / peak_gflops(), bytes == 0 ? 0 : bytes / peak_gbytes());
}

/// The time of the rest of a training step in float with AdamW: the gradient is read once for its norm; parameter,
/// gradient and two moments are read and written, the gradient to be 0.
inline double update_seconds(double parameters, double gbytes = peak_update_gbytes()) {
  return 36e-9 * parameters / gbytes;
}

/// Counters of one iteration's worth of work: tokens/s, GFLOP/s, GB/s of weights, and the share of the roofline
/// max(flops / peak, bytes / bandwidth) in percent.
inline void report(benchmark::State& state, double tokens, double flops, double bytes = 0) {
  using benchmark::Counter;
  const auto rate = [&](const char* name, double value) {
    if (value > 0) state.counters[name] = Counter(value, Counter::kIsIterationInvariantRate);
  };
  rate("tokens/s", tokens);
  rate("GFLOP/s", flops * 1e-9);
  rate("GB/s", bytes * 1e-9);
  rate("%roof", 100 * roofline_seconds(flops, bytes));
}

}  // namespace bench

/// BENCHMARK_MAIN, with the limits in the context that is printed first.
#define MOE_BENCHMARK_MAIN()                                                                   \
  int main(int argc, char** argv) {                                                            \
    benchmark::Initialize(&argc, argv);                                                        \
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;                          \
    benchmark::AddCustomContext("fma_peak_gflops", std::to_string(bench::peak_gflops()));      \
    benchmark::AddCustomContext("read_gbytes", std::to_string(bench::peak_gbytes()));          \
    benchmark::AddCustomContext("update_gbytes", std::to_string(bench::peak_update_gbytes())); \
    benchmark::RunSpecifiedBenchmarks();                                                       \
    benchmark::Shutdown();                                                                     \
  }
