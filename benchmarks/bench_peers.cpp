// How does the layer compare with the same layer made of other libraries? Plain Eigen, and where they were found when
// this was configured, OpenBLAS, oneDNN and libtorch: same weights, same tokens, each with its own routing, on the same
// number of threads of one OpenMP runtime. No time is taken before all results agree.
//
//   bench_peers [--cells=A/T16,D] [--rounds=7] [--threads=2] [--pass=forward|train|both] [--pictures=<folder>]
//
// The cells are those whose names begin so (benchmarks/peers/cells.hpp; `all`, `tiny`). Prints Markdown.
//
// It does not use Google Benchmark, which measures one program after the other: on a shared machine only programs that
// take turns can be compared, round by round.
#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "peers/cells.hpp"
#include "peers/compare.hpp"
#include "peers/eigen.hpp"
#include "peers/moe_layer.hpp"
#include "support/chart.hpp"
#include "support/machine.hpp"
#include "support/roofline.hpp"

namespace {

using bench::Cell;
using bench::Index;
using bench::Outcome;
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
    else if (name == "--pass" && value == "train")
      options.passes = {Pass::train};
    else if (name == "--pass" && value == "both")
      options.passes = {Pass::forward, Pass::train};
    else if (name != "--pass" || value != "forward")
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
    if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return cell.name.starts_with(name); }))
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
      bench::torch_loop_implementation(), bench::torch_bmm_implementation(),
#endif
  };
}

/// What was measured of one cell.
struct Measured {
  Cell cell;
  Pass pass;
  double roofline;  ///< Seconds.
  std::vector<Outcome> outcomes;
};

/// The seconds that multiply-adds at their peak or reading each used expert's weights once would take, whichever is
/// more. Training has three products for one, reads weights twice, and reads and writes their gradient.
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
  const double compute = flops * 1e-9 / bench::peak_gflops(), memory = bytes * 1e-9 / bench::peak_gbytes();
  return pass == Pass::forward ? (std::max)(compute, memory) : (std::max)(3 * compute, 4 * memory);
}

std::string number(double value, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

std::string milliseconds(double seconds) { return number(seconds * 1e3, seconds < 0.1 ? 2 : 0); }

/// To see at once, and to look up afterwards.
void report(const Measured& measured) {
  const auto& first = measured.outcomes.front().seconds;
  std::cerr << measured.cell.name << (measured.pass == Pass::forward ? ", forward" : ", forward and backward")
            << ", roofline " << milliseconds(measured.roofline) << " ms\n";
  for (const Outcome& outcome : measured.outcomes) {
    const double median = bench::median(outcome.seconds), best = bench::best(outcome.seconds);
    std::cerr << "  " << std::setw(12) << std::left << outcome.name << std::right << " median " << std::setw(7)
              << milliseconds(median) << " ms, best " << std::setw(7) << milliseconds(best) << " ms, "
              << number(bench::median_ratio(outcome.seconds, first), 2) << " (best "
              << number(best / bench::best(first), 2) << ") of moe's time, "
              << number(100 * measured.roofline / median, 0) << " % of the roofline, error " << std::scientific
              << std::setprecision(1) << outcome.error << std::defaultfloat << ' ' << outcome.way << '\n';
  }
}

void print_table(const std::vector<Measured>& all, Pass pass) {
  std::string head = "| layer | roofline, ms | moe, ms", rule = "|---|---|---|";
  bool headed = false;
  for (const Measured& measured : all) {
    if (measured.pass != pass) continue;
    if (!headed) {
      for (std::size_t i = 1; i < measured.outcomes.size(); ++i) {
        head += " | " + measured.outcomes[i].name;
        rule += "---|";
      }
      std::cout << '\n' << head << " |\n" << rule << '\n';
      headed = true;
    }
    const auto& first = measured.outcomes.front().seconds;
    const auto share = [&](const Outcome& outcome) {
      return number(100 * measured.roofline / bench::median(outcome.seconds), 0) + " %";
    };
    std::cout << "| " << measured.cell.name << " | " << milliseconds(measured.roofline) << " | "
              << milliseconds(bench::median(first)) << " (" << share(measured.outcomes.front()) << ')';
    for (std::size_t i = 1; i < measured.outcomes.size(); ++i) {
      const Outcome& outcome = measured.outcomes[i];
      std::cout << " | " << number(bench::median_ratio(outcome.seconds, first), 2) << " / "
                << number(bench::best(outcome.seconds) / bench::best(first), 2) << " (" << share(outcome) << ')';
    }
    std::cout << " |\n";
  }
}

/// The forward passes of the cells whose names begin and end so, by `x_of` their shape.
template <class F>
void draw(const std::vector<Measured>& all, std::string_view begin, std::string_view end, bench::Chart chart,
          const std::string& path, F&& x_of) {
  std::vector<bench::Line> lines;
  for (const Measured& measured : all) {
    if (measured.pass != Pass::forward || !measured.cell.name.starts_with(begin) || !measured.cell.name.ends_with(end))
      continue;
    lines.resize(measured.outcomes.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      lines[i].name = measured.outcomes[i].name;
      lines[i].points.push_back(
          {static_cast<double>(x_of(measured.cell.shape)), 1e3 * bench::median(measured.outcomes[i].seconds)});
    }
  }
  if (!lines.empty() && lines.front().points.size() > 1) chart.save(path, lines);
}

/// Some hold copies of the weights in an order of their own, and in training all have gradients.
bool fits(const Cell& cell, Pass pass) {
  const double copies = pass == Pass::forward ? 3.2 : 8, gigabytes = bench::memory_gbytes();
  const double needed = 1e-9 * copies * bench::Problem::bytes(cell.shape, cell.activation);
  if (needed < 0.9 * gigabytes) return true;
  std::cerr << cell.name << " left out: it needs about " << number(needed, 0) << " GB of memory, there are "
            << number(gigabytes, 0) << '\n';
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  bench::set_threads(options.threads);
  std::vector<Measured> all;
  for (const Cell& cell : chosen_cells(options.cells))
    for (const Pass pass : options.passes) {
      if (!fits(cell, pass)) continue;
      const bench::Problem problem(cell.shape, cell.activation);
      bench::Comparison comparison(problem, pass);
      all.push_back({cell, pass, roofline(problem, pass), comparison.run(implementations(), options.rounds)});
      report(all.back());
    }

  std::cout << options.threads << " threads, multiply-add peak " << number(bench::peak_gflops(), 0)
            << " GFLOP/s, reading " << number(bench::peak_gbytes(), 1) << " GB/s; " << options.rounds
            << " rounds.\nPer implementation: its time over moe's, median of the rounds / best over best (share of the "
               "roofline).\n";
  for (const Pass pass : options.passes) print_table(all, pass);
  if (!options.pictures.empty()) {
    draw(all, "A/", "", {"SwiGLU, D 1024, F 3584, E 8, k 2: forward", "tokens", "ms"},
         options.pictures + "/peers_tokens.svg", [](const bench::Shape& shape) { return shape.tokens; });
    draw(all, "D/", "k2", {"GELU, D 512, F 512, k 2, 4096 tokens: forward", "experts", "ms"},
         options.pictures + "/peers_experts.svg", [](const bench::Shape& shape) { return shape.experts; });
  }
}
