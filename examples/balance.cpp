// What keeps a router from sending everything to a few experts. Shazeer et al. 2017 (section 4 and table 6): without a
// loss the gate favours the same few experts for ever; losses on importance and load, singly or together, cure that and
// give a better perplexity (39.8 without, about 35.6 with them; the fullest expert gets 17.8 and 1.1 to 1.5 times the
// mean). Fedus et al. 2021 balance a top-1 router by one loss, Wang et al. 2024 by a bias without any, Kimi K3 by a
// bias without a step size; Zoph et al. 2022 keep its logits small by the z-loss, so that training is stable.
//
// Here a byte-level language model of two blocks, the second with 16 experts, is trained on English, Spanish and C with
// each of them, and at large learning rates with and without the z-loss. Prints a table in the form of the paper's;
// writes balance.csv and balance.svg, the load of the fullest expert over the steps.
//
//   balance                 17 trainings of 300 steps
//   balance --quick         9 trainings of 80 steps
//   balance --seconds=20    20 seconds for each training
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "balance/training.hpp"
#include "moe/moe.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using balance::Run;
using balance::Setting;
using example::fixed;
using moe::Index;

struct Experiment {
  Setting setting;
  bool quick = false;  ///< Is part of the quick run too.
  Run run = {};
};

std::vector<Experiment> experiments() {
  const auto noisy = moe::NoisyTopK<float>::zeros(balance::experts, example::small_size.width, {.k = 2});
  const moe::TopK top1 = moe::switch_top1();
  const moe::ScoredTopK sigmoid{.k = 2, .selection_bias_E = moe::Vector<double>::Zero(balance::experts)};
  std::vector<Experiment> list{
      {{"noisy top-2", noisy}, true},
      {{"noisy top-2", noisy, {.importance = 0.2}}},
      {{"noisy top-2", noisy, {.load = 0.2}}},
      {{"noisy top-2", noisy, {.importance = 0.1, .load = 0.1}}, true},
      {{"noisy top-2", noisy, {.importance = 0.01, .load = 0.01}}},
      {{"noisy top-2", noisy, {.importance = 1, .load = 1}}},
      {{"Switch top-1", top1}, true},
      {{"Switch top-1", top1, {.router_z = 1e-3}}},
      {{"Switch top-1", top1, {.load_balance = 1e-2}}, true},
      {{"Switch top-1", top1, {.load_balance = 1e-2, .router_z = 1e-3}}},
      {{"sigmoid top-2", sigmoid}, true},
      {{"sigmoid top-2", sigmoid, {}, 1e-2}, true},
      {{"sigmoid top-2", sigmoid, {}, 0, balance::default_rate, true}, true},
  };
  for (const double rate : {5e-2, 2e-1})
    for (const double router_z : {0.0, 1e-3})
      list.push_back({{"Switch top-1", top1, {.load_balance = 1e-2, .router_z = router_z}, 0, rate}, rate > 0.1});
  return list;
}

/// A weight as it is written in a table.
std::string weight(double value) { return value > 0 ? example::label(value) : "-"; }

example::Table table_of(const std::vector<Experiment>& list) {
  example::Table table({"router", "w_imp", "w_load", "w_bal", "w_z", "bias", "rate", "bits", "CV(imp)", "CV(load)",
                        "max/mean", "lse", "spikes"});
  for (const auto& [setting, quick, run] : list) {
    const auto& losses = setting.losses;
    table.row({setting.name, weight(losses.importance), weight(losses.load), weight(losses.load_balance),
               weight(losses.router_z), setting.by_quantile ? "quantile" : weight(setting.bias_rate),
               example::label(setting.learning_rate), fixed(run.held_out.bits, 3),
               fixed(example::variation(run.held_out.importance_E), 2),
               fixed(example::variation(run.held_out.load_E), 2), fixed(run.fullest(), 2), fixed(run.peak(), 2),
               run.diverged ? "diverged" : std::to_string(run.spikes())});
  }
  return table;
}

void draw(const std::vector<Experiment>& list, const std::string& path) {
  example::LineChart chart{.title = "Load of the fullest of 16 experts, in training",
                           .subtitle = "times the mean load; 1 is even, 8 the most with top-2, 16 with top-1",
                           .x_name = "step",
                           .y_name = "greatest load / mean load"};
  for (const auto& [setting, quick, run] : list) {
    if (!quick || setting.learning_rate > balance::default_rate) continue;
    example::LineChart::Series line{setting.name + (setting.by_quantile  ? ", by quantile"
                                                    : setting.balances() ? ", balanced"
                                                                         : ", not balanced"),
                                    {},
                                    !setting.balances()};
    const std::size_t bin = run.steps.size() / 40 + 1;
    for (std::size_t begin = 0; begin + bin <= run.steps.size(); begin += bin) {
      double sum = 0;
      for (std::size_t i = begin; i < begin + bin; ++i) sum += run.steps[i].fullest;
      line.points.push_back({static_cast<double>(begin + bin / 2), sum / static_cast<double>(bin)});
    }
    chart.series.push_back(std::move(line));
  }
  chart.draw().save(path);
}

/// Says what was measured, and whether it is what the papers claim.
bool judge(const std::vector<Experiment>& list, bool quick) {
  bool holds = true;
  const auto expect = [&](bool fact, const std::string& claim) {
    if (!fact) std::cerr << "balance: not so here: " << claim << '\n';
    holds = holds && fact;
  };
  for (const auto& [unbalanced, in_quick, free] : list) {
    if (unbalanced.balances() || unbalanced.losses.router_z > 0) continue;
    double fullest = 0, bits = 0, count = 0;
    for (const auto& [setting, too, run] : list) {
      if (setting.name != unbalanced.name || setting.learning_rate > balance::default_rate) continue;
      if (!setting.balances()) continue;
      fullest = (std::max)(fullest, run.fullest());
      bits += run.held_out.bits;
      ++count;
    }
    std::cout << unbalanced.name << ": without balancing the fullest expert gets " << fixed(free.fullest(), 1)
              << " times the mean, with it at most " << fixed(fullest, 1) << " times; " << fixed(free.held_out.bits, 3)
              << " bits a byte without, " << fixed(bits / count, 3) << " with it on average ("
              << (bits / count < free.held_out.bits ? "fewer, as" : "not fewer, unlike") << " in the papers).\n";
    expect(free.fullest() > (quick ? 1.1 : 1.5) * fullest,  // it takes its time; without an effect: 1
           unbalanced.name + " collapses without balancing, and not with it");
  }
  const Run &plain = list[list.size() - 2].run, &kept = list.back().run;
  const double large = plain.peak(), small = kept.peak();
  const auto outcome = [](const Run& run) {
    return fixed(run.held_out.bits, 3) + " bits a byte, " +
           (run.diverged ? "diverged" : std::to_string(run.spikes()) + " spikes");
  };
  std::cout << "At a learning rate of " << example::label(list.back().setting.learning_rate)
            << " the log-sum-exp of the router's logits reaches " << fixed(large, 2) << " without the z-loss ("
            << outcome(plain) << "), " << fixed(small, 2) << " with it (" << outcome(kept) << ").\n";
  expect(!kept.diverged && large > 1.2 * small, "the z-loss keeps the logits small");
  return holds;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"What keeps a router from sending everything to a few experts"};
  example::Budget budget{.steps = 300};
  budget.add_to(app);
  CLI11_PARSE(app, argc, argv);
  if (budget.quick) budget.steps = 80;

  const example::Domains text(MOE_EXAMPLE_DATA "/domains");
  std::vector<Experiment> list = experiments();
  if (budget.quick) std::erase_if(list, [](const Experiment& one) { return !one.quick; });
  {
    example::Progress progress("training", list.size());
    moe::DefaultExecutor{}.parallel_for(static_cast<Index>(list.size()), [&](Index i) {
      Experiment& one = list[static_cast<std::size_t>(i)];
      one.run = balance::train(one.setting, text, budget, budget.quick ? 8 : 32);
      progress.advance();
    });
  }
  const example::Table table = table_of(list);
  std::cout
      << table << "\nOn held-out text: bits a byte, coefficients of variation of the experts' importance and load, "
      << "greatest load / mean load.\nIn training: the router's greatest log-sum-exp (root mean square of a batch), "
      << "steps whose loss jumped by a quarter.\n\n";
  table.save_csv(budget.file("balance.csv"));
  draw(list, budget.file("balance.svg"));
  const bool holds = judge(list, budget.quick);
  std::cout << "\nWritten: " << budget.file("balance.csv") << ", " << budget.file("balance.svg") << '\n';
  return holds ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "balance: " << error.what() << '\n';
  return EXIT_FAILURE;
}
