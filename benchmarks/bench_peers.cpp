// How does the layer compare with the same layer made of other libraries? Plain Eigen, and where they were found when
// this was configured, OpenBLAS, oneDNN and libtorch: same weights, same tokens, each with its own routing, on the same
// number of threads of one OpenMP runtime. No time is taken before all results agree.
//
//   bench_peers [--cells=A/T16,D] [--rounds=7] [--threads=2] [--pass=forward,train,step] [--pictures=<folder>]
//
// A cell is named letter by letter (benchmarks/peers/cells.hpp), or with less: D means D/E8/k2 and its like; also `all`
// and `tiny`. A step is forward, backward, and the rest of a training step with AdamW. Prints tables in Markdown, and
// of each cell as soon as it is done on the error stream.
//
// oneDNN has no backward pass here. libtorch multiplies by the BLAS that libblas.so.3 is: with Debian's packages the
// same OpenBLAS.
//
// It does not use Google Benchmark, which measures one program after the other: on a shared machine only programs that
// take turns can be compared, round by round.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "peers/cells.hpp"
#include "peers/compare.hpp"
#include "peers/eigen.hpp"
#include "peers/moe_layer.hpp"
#include "peers/report.hpp"
#include "support/machine.hpp"
#include "support/roofline.hpp"

namespace {

using bench::Cell;
using bench::Index;
using bench::Measured;
using bench::Pass;

struct Options {
  std::vector<std::string> cells{"A/T16", "A/T256", "D/E128/k2"};
  int rounds = 7;
  int threads = static_cast<int>(bench::default_threads());
  std::vector<Pass> passes{Pass::forward};
  std::string pictures;  ///< A folder; none: no pictures.
};

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  std::istringstream stream{std::string(list)};
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

[[noreturn]] void refuse(std::string_view argument) {
  std::cerr << "bench_peers: cannot do " << argument << "; its options are told in benchmarks/bench_peers.cpp\n";
  std::exit(1);
}

std::vector<Pass> passes_named(const std::vector<std::string>& names) {
  std::vector<Pass> passes;
  for (const std::string& name : names) {
    const auto named = [&](Pass pass) { return bench::name_of(pass) == name; };
    const auto found = std::find_if(bench::all_passes.begin(), bench::all_passes.end(), named);
    if (found == bench::all_passes.end()) refuse("the pass '" + name + "'");
    passes.push_back(*found);
  }
  return passes;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    const std::string value(equals == argument.npos ? "" : argument.substr(equals + 1));
    if (name == "--cells")
      options.cells = split(value);
    else if (name == "--rounds")
      options.rounds = std::atoi(value.c_str());
    else if (name == "--threads")
      options.threads = std::atoi(value.c_str());
    else if (name == "--pictures")
      options.pictures = value;
    else if (name == "--pass")
      options.passes = passes_named(split(value));
    else
      refuse(argument);
  }
  if (options.rounds < 1 || options.threads < 1 || options.cells.empty()) refuse("less than one of anything");
  return options;
}

std::vector<Cell> chosen_cells(const std::vector<std::string>& names) {
  if (names.front() == "all") return bench::grid();
  if (names.front() == "tiny") return bench::tiny_grid();
  std::vector<Cell> cells;
  for (const Cell& cell : bench::grid())
    if (std::any_of(names.begin(), names.end(),
                    [&](const std::string& name) { return (cell.name + '/').starts_with(name + '/'); }))
      cells.push_back(cell);
  if (cells.empty()) refuse(names.front());
  return cells;
}

std::vector<bench::Implementation> implementations() {
  return {
      bench::moe_implementation(),        bench::eigen_implementation(),
#ifdef MOE_PEER_OPENBLAS
      bench::openblas_implementation(),
#endif
#ifdef MOE_PEER_ONEDNN
      bench::onednn_implementation(),
#endif
#ifdef MOE_PEER_TORCH
      bench::torch_loop_implementation(), bench::torch_bmm_implementation(), bench::torch_step_implementation(),
#endif
  };
}

/// The seconds that multiply-adds at their peak or reading each used expert's weights once would take, whichever is
/// more. Training has three products for one, reads weights twice, and reads and writes their gradient. The rest of a
/// step comes to that.
double roofline(const bench::Problem& problem, Pass pass) {
  const bench::Shape& shape = problem.shape;
  bench::Routed routed;
  routed.logits_TE = problem.x_TD * problem.router_ED.transpose();
  routed.decide(shape);
  Index used = 0;
  for (Index e = 0; e < shape.experts; ++e) used += routed.rows_of(e) > 0;
  const auto expert = static_cast<double>(problem.matrices() * shape.width * shape.hidden);
  const auto router = static_cast<double>(shape.width * shape.experts);
  const double flops = 2 * static_cast<double>(shape.tokens) * (static_cast<double>(shape.k) * expert + router);
  const double bytes = sizeof(float) * (static_cast<double>(used) * expert + router);
  if (pass == Pass::forward) return bench::roofline_seconds(flops, bytes);
  return bench::roofline_seconds(3 * flops, 4 * bytes) +
         (pass == Pass::step ? bench::update_seconds(problem.parameters()) : 0);
}

/// Some hold copies of the weights in an order of their own, and in training all have gradients; in a step two of them
/// take turns, with two moments each, and there is what they compute with.
bool fits(const Cell& cell, Pass pass) {
  const double copies = pass == Pass::forward ? 3.2 : pass == Pass::train ? 8 : 8.5, gigabytes = bench::memory_gbytes();
  const double needed = 1e-9 * copies * bench::Problem::bytes(cell.shape, cell.activation);
  if (needed < 0.9 * gigabytes) return true;
  std::cerr << cell.name << " left out: it needs about " << bench::number(needed, 0) << " GB of memory, there are "
            << bench::number(gigabytes, 0) << '\n';
  return false;
}

std::vector<Measured> measure(const Options& options) {
  std::vector<Measured> all;
  for (const Cell& cell : chosen_cells(options.cells))
    for (const Pass pass : options.passes) {
      if (!fits(cell, pass)) continue;
      bench::Problem problem(cell.shape, cell.activation);
      bench::Comparison comparison(problem, pass);
      all.push_back({cell, pass, roofline(problem, pass), comparison.run(implementations(), options.rounds)});
      bench::print_lines(all.back());
    }
  return all;
}

void run(const Options& options) {
  bench::set_threads(options.threads);
  const double load_before = bench::load_average();
  const std::vector<Measured> all = measure(options);
  std::cout << options.threads << " threads, multiply-add peak " << bench::number(bench::peak_gflops(), 0)
            << " GFLOP/s, reading " << bench::number(bench::peak_gbytes(), 1) << " GB/s; " << options.rounds
            << " rounds; load " << bench::number(load_before, 1) << " before, "
            << bench::number(bench::load_average(), 1)
            << " after.\nPer implementation: its time over moe's, median of the rounds / best over best (share of the "
               "roofline).\n";
  for (const Pass pass : options.passes) bench::print_table(all, pass);
  if (options.pictures.empty()) return;
  bench::draw(all, "A/", "", {.title = "SwiGLU, D 1024, F 3584, E 8, k 2", .x_name = "tokens"},
              options.pictures + "/peers_tokens.svg", [](const bench::Shape& shape) { return shape.tokens; });
  bench::draw(all, "D/", "k2", {.title = "GELU, D 512, F 512, k 2, 4096 tokens", .x_name = "experts"},
              options.pictures + "/peers_experts.svg", [](const bench::Shape& shape) { return shape.experts; });
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::cerr << "bench_peers: " << error.what() << '\n';
    return 1;
  }
}
