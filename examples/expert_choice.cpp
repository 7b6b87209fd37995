// Experts that choose their tokens. Zhou et al. (2022) claim that this balances the load by construction, gives some
// tokens more experts than others, and learns more than twice as fast as Switch and GShard, whose tokens choose.
// Here byte-level transformers that see text in both directions tell the bytes that were masked in it, an English
// novel, the English and the Spanish Bible and C code: top-1 (Switch) against expert choice with one expert for each
// byte on average, top-2 (GShard) against it with two, with as many slots in either.
//
// An expert's choice depends on the tokens that follow: told from left to right, text leaks its future. This is shown
// as well, by models whose attention is causal.
//
//   expert_choice
//   expert_choice --quick    a short one
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "expert_choice/leak.hpp"
#include "expert_choice/masked.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/domains.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using choice::Run;
using example::fixed;
using moe::Index;

struct Pair {
  Run tokens_choose, experts_choose;
};

std::vector<Pair> make_pairs(Index alphabet, const choice::Setting& setting) {
  const auto run = [&](const std::string& name, const choice::Gating& gating) {
    return Run(name, gating, alphabet, setting);
  };
  std::vector<Pair> pairs;
  pairs.push_back({run("top-1 (Switch)", choice::switch_gating()), run("expert choice, 1", choice::expert_gating(1))});
  pairs.push_back({run("top-2 (GShard)", choice::gshard_gating()), run("expert choice, 2", choice::expert_gating(2))});
  return pairs;
}

void train(std::vector<Pair>& pairs, const example::Domains& data, const example::Pace& pace, int tests) {
  example::Progress progress("training", static_cast<std::size_t>(tests));
  int tested = 0;
  for (Index step = 0; pace.fraction(step) < 1; ++step) {
    const double fraction = pace.fraction(step);
    const bool due = tests * pace.fraction(step + 1) >= tested + 1;
    for (Pair& pair : pairs)
      for (Run* run : {&pair.tokens_choose, &pair.experts_choose}) {
        run->train(data.train, fraction);
        if (due) run->test(data.held_out);
      }
    if (!due) continue;
    ++tested;
    progress.advance();
  }
}

/// The step at which `run` has reached what `other` ends at, between two tests on a straight line; NaN: never.
double steps_to_end_of(const Run& other, const Run& run) {
  const double wanted = other.curve.back().y;
  for (std::size_t i = 0; i < run.curve.size(); ++i) {
    const example::Point &b = run.curve[i], &a = run.curve[i > 0 ? i - 1 : 0];
    if (b.y > wanted) continue;
    return i == 0 ? b.x : b.x - (b.x - a.x) * (wanted - b.y) / (a.y - b.y);
  }
  return std::nan("");
}

std::string steps_or_never(double steps) { return std::isfinite(steps) ? fixed(steps) : "never"; }

example::Table table_of(const std::vector<Pair>& pairs) {
  example::Table table({"gate", "bits per masked byte", "steps to top-k's end", "dropped, %", "fullest expert / mean",
                        "bytes with 0 experts, %", "1", "2", "3 or more"});
  for (const Pair& pair : pairs)
    for (const Run* run : {&pair.tokens_choose, &pair.experts_choose}) {
      const choice::Usage& usage = run->usage;
      std::vector<std::string> row{run->name, fixed(run->curve.back().y, 3),
                                   steps_or_never(steps_to_end_of(pair.tokens_choose, *run)),
                                   fixed(100 * usage.dropped, 1), fixed(usage.fullest, 2)};
      for (const double share : usage.with_experts) row.push_back(fixed(100 * share, 1));
      table.row(row);
    }
  return table;
}

void draw(const std::vector<Pair>& pairs, const example::Budget& budget) {
  example::LineChart curves{.title = "Telling masked bytes: tokens choose experts, or experts choose tokens",
                            .subtitle = "text that was held out, four kinds of it; 8 experts",
                            .x_name = "steps",
                            .y_name = "bits per masked byte"};
  example::BarChart bars{.title = "Experts that work on a byte",
                         .subtitle = "after training, text that was held out",
                         .x_name = "experts of a byte",
                         .y_name = "share of the bytes (%)",
                         .groups = {"0", "1", "2", "3 or more"},
                         .digits = 0};
  for (const Pair& pair : pairs)
    for (const Run* run : {&pair.tokens_choose, &pair.experts_choose}) {
      curves.series.push_back({run->name, run->curve});
      bars.series.push_back({run->name, {}});
      for (const double share : run->usage.with_experts) bars.series.back().values.push_back(100 * share);
    }
  curves.draw().save(budget.file("expert_choice.svg"));
  bars.draw().save(budget.file("expert_choice_experts.svg"));
}

void conclude(const std::vector<Pair>& pairs, const choice::Leaks& leaks) {
  std::cout << "\nThe paper: the same loss in less than half the steps. Here";
  const char* separator = " ";
  for (const Pair& pair : pairs) {
    const double all = pair.tokens_choose.curve.back().x,
                 steps = steps_to_end_of(pair.tokens_choose, pair.experts_choose);
    std::cout << separator << pair.experts_choose.name;
    if (std::isfinite(steps))
      std::cout << " needs " << fixed(100 * steps / all) << " % of the steps of " << pair.tokens_choose.name;
    else
      std::cout << " does not get to where " << pair.tokens_choose.name << " ends";
    separator = ", ";
  }
  const auto& share = pairs.back().experts_choose.usage.with_experts;
  std::cout << ".\nThe paper: most bytes have one or two experts, few have more. Here, with two on average, "
            << fixed(100 * share[0], 1) << " % have none, " << fixed(100 * (share[1] + share[2]), 1)
            << " % one or two, " << fixed(100 * share[3], 1)
            << " % more; every expert has exactly as many bytes as any other.\n"
            << "From left to right, expert choice tells the next byte in " << fixed(leaks.experts_choose.in_batch, 3)
            << " bits where its experts see a whole batch, and in " << fixed(leaks.experts_choose.from_prefix, 3)
            << " where there is only what came before, as in writing; top-1 in "
            << fixed(leaks.tokens_choose.in_batch, 3) << " and " << fixed(leaks.tokens_choose.from_prefix, 3) << ".\n";
}

bool expect(bool holds, const std::string& claim) {
  if (!holds) std::cerr << "expert_choice: it does not hold that " << claim << '\n';
  return holds;
}

/// `slack` in bits: after a few steps, no model tells more than how frequent each byte is.
bool holds(const std::vector<Pair>& pairs, const choice::Leaks& leaks, double slack) {
  bool all = true;
  for (const auto& [tokens_choose, experts_choose] : pairs) {
    const choice::Usage &usual = tokens_choose.usage, &usage = experts_choose.usage;
    all &= expect(usage.always_even, "every expert takes equally many bytes: " + experts_choose.name);
    all &= expect(usage.dropped == 0 && usual.dropped > 0 && !usual.always_even, "only top-k drops bytes");
    all &= expect(usage.with_experts[3] > 0 && usual.with_experts[3] == 0, "only expert choice gives some bytes more");
    all &= expect(experts_choose.curve.back().y < tokens_choose.curve.back().y + slack,
                  experts_choose.name + " ends below " + tokens_choose.name);
  }
  all &= expect(leaks.tokens_choose.difference < 1e-4, "top-1 does not look ahead");
  all &= expect(leaks.experts_choose.difference > 1e-2, "expert choice looks ahead");
  return all;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"Trains transformers on masked text whose experts choose tokens, or are chosen by them."};
  example::Budget budget{.steps = 1000};
  budget.add_to(app);
  CLI11_PARSE(app, argc, argv);
  if (budget.quick && app.count("--steps") == 0) budget.steps = 100;
  const example::Domains data(MOE_EXAMPLE_DATA "/domains");
  const choice::Setting setting(budget.quick, budget.seed);
  std::vector<Pair> pairs = make_pairs(data.alphabet, setting);
  train(pairs, data, example::Pace(budget.steps, budget.seconds), setting.tests);
  for (Pair& pair : pairs)
    for (Run* run : {&pair.tokens_choose, &pair.experts_choose}) run->measure_usage(data.held_out);
  const choice::Leaks leaks = choice::measure_leaks(data, pairs.front().tokens_choose.steps() / 4, setting);
  const example::Table table = table_of(pairs);
  std::cout << table;
  conclude(pairs, leaks);
  table.save_csv(budget.file("expert_choice.csv"));
  draw(pairs, budget);
  std::cout << "\nWritten: " << budget.file("expert_choice.csv") << ", " << budget.file("expert_choice.svg") << ", "
            << budget.file("expert_choice_experts.svg") << '\n';
  return holds(pairs, leaks, budget.quick ? 0.1 : 0) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "expert_choice: " << error.what() << '\n';
  return EXIT_FAILURE;
}
