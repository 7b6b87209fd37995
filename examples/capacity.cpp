// What the capacity of experts costs and saves. An expert takes at most factor * tokens * k / experts choices; what is
// beyond is dropped and left to the residual connection. GShard (Lepikhin et al. 2020) drops those that come last;
// Fedus et al. 2021 find that Switch (top-1) does well at factors of 1 to 1.25, where few are dropped; V-MoE (Riquelme
// et al. 2021) serves the tokens first that the router is surest of, so that the capacity can be cut after training;
// "no token left behind" (Fedus et al. 2021, appendix B) sends overflow to the next best expert, and gains nothing.
//
// Here a byte-level language model of two blocks, the second with 8 experts, is trained on English, Spanish and C for
// each factor, with Switch's gate and with GShard's, dropping the last. Each model is tested with its factor, the one
// of unlimited capacity with all of them and all four ways to choose who is dropped: gate and capacity of a trained
// layer are exchanged. Prints two tables; writes capacity.csv, capacity_cut.csv and capacity.svg.
//
//   capacity                12 trainings of 300 steps
//   capacity --quick        6 trainings of 80 steps
//   capacity --seconds=20   20 seconds for each training
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "capacity/training.hpp"
#include "moe/moe.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using capacity::Drop;
using capacity::Result;
using example::fixed;
using example::HeldOut;
using moe::Index;

/// A gate at all factors, the last of which is unlimited.
struct Study {
  std::string name;
  Index k;
  std::vector<double> factors;
  std::vector<Result> results = std::vector<Result>(factors.size());

  /// Of the unlimited model, by factor, then by who is dropped.
  const std::vector<std::vector<HeldOut>>& cut() const { return results.back().cut; }
};

std::string percent(double share) { return fixed(100 * share, 1); }

/// Several trainings at a time, one thread each.
void run(std::vector<Study>& studies, const example::Budget& budget) {
  const example::Domains text(MOE_EXAMPLE_DATA "/domains");
  const std::size_t factors = studies.front().factors.size(), count = studies.size() * factors;
  example::Progress progress("training", count);
  moe::DefaultExecutor{}.parallel_for(static_cast<Index>(count), [&](Index i) {
    Study& study = studies[static_cast<std::size_t>(i) / factors];
    const std::size_t f = static_cast<std::size_t>(i) % factors;
    const auto others = f + 1 == factors ? study.factors : std::vector<double>();
    study.results[f] = capacity::train_and_test(study.k, study.factors[f], others, text, budget);
    progress.advance();
  });
}

example::Table trained_table(const std::vector<Study>& studies) {
  example::Table table({"gate", "factor", "dropped, training %", "held out %", "bits a byte", "tokens/s"});
  for (const Study& study : studies)
    for (std::size_t f = 0; f < study.factors.size(); ++f) {
      const Result& result = study.results[f];
      table.row({study.name, capacity::name_of(study.factors[f]), percent(result.dropped_share),
                 percent(result.own.dropped_share), fixed(result.own.bits, 3), fixed(result.tokens_per_second)});
    }
  return table;
}

example::Table cut_table(const std::vector<Study>& studies) {
  std::vector<std::string> head{"gate", "cut to", "dropped %"};
  for (const char* const name : capacity::drop_names) head.push_back(std::string("bits: ") + name);
  head.push_back("rerouted: dropped %");
  example::Table table(head);
  for (const Study& study : studies)
    for (std::size_t f = 0; f < study.factors.size(); ++f) {
      const auto& row = study.cut()[f];
      std::vector<std::string> cells{study.name, capacity::name_of(study.factors[f]), percent(row[0].dropped_share)};
      for (const HeldOut& held_out : row) cells.push_back(fixed(held_out.bits, 3));
      if (row.size() == capacity::drops.size()) cells.push_back(percent(row.back().dropped_share));
      table.row(std::move(cells));
    }
  return table;
}

void draw(const std::vector<Study>& studies, const std::string& path) {
  example::LineChart chart{
      .title = "Capacity of experts, cut after training",
      .subtitle = "held-out text, by who is dropped; dashed: trained at that capacity, the latest dropped",
      .x_name = "capacity factor",
      .y_name = "bits a byte more than without a limit",
      .log2_x = true};
  for (const Study& study : studies) {
    const auto add = [&](const std::string& name, bool dashed, const auto& bits_at) {
      example::LineChart::Series line{study.name + ", " + name, {}, dashed};
      for (std::size_t f = 0; f + 1 < study.factors.size(); ++f)
        line.points.push_back({study.factors[f], bits_at(f) - study.results.back().own.bits});
      chart.series.push_back(std::move(line));
    };
    for (const Drop drop : {Drop::latest, Drop::lowest_weight, Drop::nobody}) {
      const auto d = static_cast<std::size_t>(drop);
      if (capacity::is_possible(study.k, drop))
        add(capacity::drop_names[d], false, [&](std::size_t f) { return study.cut()[f][d].bits; });
    }
    add("trained at it", true, [&](std::size_t f) { return study.results[f].own.bits; });
  }
  chart.draw().save(path);
}

/// Says what was measured, and whether it is what the papers claim.
bool judge(const Study& study) {
  bool holds = true;
  const auto expect = [&](bool fact, const std::string& claim) {
    if (!fact) std::cerr << "capacity: not so here: " << study.name << ": " << claim << '\n';
    holds = holds && fact;
  };
  const auto& cut = study.cut();
  for (std::size_t f = 0; f < study.factors.size(); ++f) {
    const Result &result = study.results[f], &before = study.results[f > 0 ? f - 1 : 0];
    expect((std::min)(result.own.dropped_share, cut[f][0].dropped_share) >= 1 - study.factors[f] - 1e-9,
           "no more is served than there is room for");
    expect(f == 0 || (result.dropped_share < before.dropped_share + 0.01 &&
                      result.own.dropped_share < before.own.dropped_share + 0.01 &&
                      cut[f][0].dropped_share <= cut[f - 1][0].dropped_share),
           "less is dropped at a larger factor");
    if (study.k == 1 && study.factors[f] >= 1)
      expect(cut[f].back().dropped_share == 0, "rerouting leaves no token behind");
  }
  const Result &tight = study.results.front(), &whole = study.results.back();
  expect(whole.dropped_share == 0 && whole.own.dropped_share == 0, "without a limit nothing is dropped");
  const double all = whole.own.bits, latest = cut[0][0].bits, lowest = cut[0][1].bits;
  expect(latest > all, "a byte costs more where half or more is dropped");
  expect(lowest < latest + 0.01, "to drop the lowest weights is not worse than to drop the last");
  std::cout << study.name << ": trained at a factor of " << capacity::name_of(study.factors[0]) << " a byte costs "
            << fixed(tight.own.bits, 3) << " bits, without a limit " << fixed(all, 3) << ". Cut to that factor, "
            << fixed(latest, 3) << " if the last are dropped, " << fixed(lowest, 3) << " if the lowest weights are.\n";
  return holds;
}

/// Rerouting, at the factor where all tokens just fit.
void say_rerouted(const Study& study) {
  for (std::size_t f = 0; f < study.factors.size(); ++f) {
    const HeldOut &latest = study.cut()[f].front(), &rerouted = study.cut()[f].back();
    if (study.factors[f] == 1)
      std::cout << study.name << ", cut to a factor of 1: rerouting drops " << percent(rerouted.dropped_share)
                << " % instead of " << percent(latest.dropped_share) << " %, and a byte costs "
                << fixed(rerouted.bits, 3) << " bits instead of " << fixed(latest.bits, 3) << ".\n";
  }
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"What the capacity of experts costs and saves"};
  example::Budget budget{.steps = 300};
  budget.add_to(app);
  CLI11_PARSE(app, argc, argv);
  if (budget.quick) budget.steps = 80;

  const std::vector<double> factors = budget.quick ? std::vector<double>{0.5, 1, capacity::unlimited}
                                                   : std::vector<double>{0.5, 0.75, 1, 1.25, 2, capacity::unlimited};
  std::vector<Study> studies{{"Switch top-1", 1, factors}, {"GShard top-2", 2, factors}};
  run(studies, budget);
  const example::Table trained = trained_table(studies), cut = cut_table(studies);
  std::cout << trained << "\nTrained and tested at each factor, the last in the batch being dropped; tokens/s of one "
            << "thread, in training.\n\n"
            << cut << "\nTrained without a limit, tested at each factor.\n\n";
  trained.save_csv(budget.file("capacity.csv"));
  cut.save_csv(budget.file("capacity_cut.csv"));
  draw(studies, budget.file("capacity.svg"));
  bool holds = true;
  for (const Study& study : studies) holds = judge(study) && holds;
  say_rerouted(studies.front());
  std::cout << "\nWritten: " << budget.file("capacity.csv") << ", " << budget.file("capacity_cut.csv") << ", "
            << budget.file("capacity.svg") << '\n';
  return holds ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "capacity: " << error.what() << '\n';
  return EXIT_FAILURE;
}
