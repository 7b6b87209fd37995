// How near does the innermost loop of all products come to what the processor can multiply and add, with its operands
// in the caches? By depth, for a full tile; on one thread, each time in turn with the probe of the processor's own
// peak.
#include <algorithm>
#include <vector>

#include <moe/moe.hpp>

#include "support/roofline.hpp"
#include "support/rounds.hpp"

namespace {

void tile(benchmark::State& state) {
  using Shape = moe::detail::TileShape<float>;
  constexpr int rows = Shape::rows, panels = Shape::panels(rows);
  const moe::Index depth = state.range(0);
  const std::vector<float> a(static_cast<std::size_t>(rows * depth), 1e-3f);
  moe::Vector<float> b(panels * depth * moe::panel_width),
      c(rows * panels * moe::panel_width);  // Eigen's memory is aligned
  b.setConstant(1e-3f);
  const float* b_of_panel[std::size_t{panels}];
  float* c_of_panel[std::size_t{panels}];
  for (int p = 0; p < panels; ++p)
    b_of_panel[p] = b.data() + p * depth * moe::panel_width, c_of_panel[p] = c.data() + p * rows * moe::panel_width;
  const auto multiply = moe::detail::packed_tile<float>(moe::detail::LeftOrder::rows, rows);
  const auto product = [&] {
    multiply(a.data(), depth, rows * moe::panel_width, b_of_panel, c_of_panel, moe::detail::Sums::set,
             moe::detail::Ahead::one_far, b_of_panel, 0);
    benchmark::DoNotOptimize(c.data());
  };
  const double flops = 2.0 * rows * panels * moe::panel_width * static_cast<double>(depth);
  std::vector<double> shares;
  for (auto _ : state) {
    const double seconds = bench::time_turn(product);
    shares.push_back(100 * flops / seconds * 1e-9 / bench::best_rate(1, bench::probe_fma, 1));
    state.SetIterationTime(seconds);
  }
  state.counters["rows"] = rows;
  state.counters["columns"] = 16 * panels;
  state.counters["%_of_peak_median"] = bench::median(shares);
  state.counters["%_of_peak_best"] = *std::max_element(shares.begin(), shares.end());
}

BENCHMARK(tile)->ArgName("depth")->Arg(128)->Arg(256)->Arg(512)->UseManualTime()->Iterations(15);

}  // namespace

MOE_BENCHMARK_MAIN()
