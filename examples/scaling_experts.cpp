// More experts at the same work for each token. Shazeer et al. (2017, figure 2) and Fedus et al. (2021, figure 4)
// claim that a language model tells text better the more experts it has, though every token meets only one of them.
// Here byte-level transformers whose second block has 1, 2, 4, ..., 64 experts (Switch: one for each byte, and a loss
// that keeps them in balance) learn the same batches of four kinds of text, an English novel, the English and the
// Spanish Bible and C code. Measured: bits per byte of text that was held out, and the time that a byte takes.
//
//   scaling_experts
//   scaling_experts --quick    1 and 16 experts, smaller ones
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "moe/moe.hpp"
#include "scaling_experts/picture.hpp"
#include "scaling_experts/run.hpp"
#include "support/budget.hpp"
#include "support/domains.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using example::fixed;
using moe::Index;
using scaling::Result;
using scaling::Run;

std::vector<Run> make_runs(const std::vector<Index>& experts, Index alphabet, const example::Budget& budget) {
  const Index width = budget.quick ? 32 : 64;
  const example::ModelSize size{.width = width, .heads = 4, .blocks = 2, .hidden = budget.quick ? width : 2 * width};
  std::vector<Run> runs;
  for (const Index count : experts) runs.emplace_back(count, alphabet, size, budget.seed);
  return runs;
}

/// Steps are taken in turn, so that what else the machine does slows all models alike.
void train(std::vector<Run>& runs, const example::Codes& text, const example::Budget& budget) {
  constexpr Index tenths = 10;
  const example::Pace pace(budget.steps, budget.seconds);
  example::Progress progress("training", tenths);
  Index shown = 0;
  for (Index step = 0; pace.fraction(step) < 1; ++step) {
    const double fraction = pace.fraction(step);
    for (Run& run : runs) run.train(text, fraction);
    for (; static_cast<double>(shown + 1) <= tenths * pace.fraction(step + 1); ++shown) progress.advance();
  }
}

std::vector<Result> test(std::vector<Run>& runs, const example::Codes& held_out) {
  moe::Random random(1);
  const example::TextBatch batch = example::draw_batch(held_out, 32, 64, random);
  for (int pass = 0; pass < 40; ++pass)
    for (Run& run : runs) run.time_inference(batch);
  example::Progress progress("testing", runs.size());
  std::vector<Result> results;
  for (Run& run : runs) {
    results.push_back(run.result(held_out));
    progress.advance();
  }
  return results;
}

example::Table table_of(const std::vector<Result>& results) {
  example::Table table({"experts", "parameters", "active for a byte", "bits per byte held out", "in training",
                        "training, us a byte", "inference, us a byte", "busiest expert / mean"});
  for (const Result& r : results)
    table.row({std::to_string(r.experts), fixed(r.parameters), fixed(r.active_parameters), fixed(r.held_out_bits, 3),
               fixed(r.training_bits, 3), fixed(r.training_us, 2), fixed(r.inference_us, 2), fixed(r.busiest, 2)});
  return table;
}

const Result& best_of(const std::vector<Result>& results) {
  return *std::min_element(results.begin(), results.end(),
                           [](const Result& a, const Result& b) { return a.held_out_bits < b.held_out_bits; });
}

void conclude(const std::vector<Result>& results) {
  const Result &one = results.front(), &most = results.back(), &best = best_of(results);
  std::cout << "\nThe papers: the more experts, the better, at the same work for each token. Here " << best.experts
            << " experts are best, " << fixed(one.held_out_bits - best.held_out_bits, 3)
            << " bits per byte below 1 expert; ";
  if (best.experts == most.experts)
    std::cout << "more than these were not tried.\n";
  else
    std::cout << "more no longer help at this budget. " << most.experts << " are at " << fixed(most.held_out_bits, 3)
              << ": each of them has seen 1/" << most.experts << " of the text, and "
              << (most.training_bits > best.training_bits ? "is worse in training, too: they starve.\n"
                                                          : "is better in training: they learn it by heart.\n");
  std::cout << most.experts << " experts have " << fixed(scaling::times(&Result::parameters, most, one), 1)
            << " times the parameters of one; a byte takes "
            << fixed(scaling::times(&Result::training_us, most, one), 2) << " times as long in training and "
            << fixed(scaling::times(&Result::inference_us, most, one), 2) << " times in inference.\n";
}

/// The claim: experts help, and cost far less than their parameters.
bool holds(const std::vector<Result>& results, double margin) {
  const Result &one = results.front(), &most = results.back();
  const auto sixteen = std::find_if(results.begin(), results.end(), [](const Result& r) { return r.experts == 16; });
  const double gain = one.held_out_bits - sixteen->held_out_bits;
  if (!(gain > margin)) {
    std::cerr << "scaling_experts: 16 experts are better than 1 by " << gain << " bits per byte, not by " << margin
              << '\n';
    return false;
  }
  const double larger = scaling::times(&Result::parameters, most, one) - 1;
  const double slower = scaling::times(&Result::training_us, most, one) - 1;
  if (!(slower < larger / 2)) {
    std::cerr << "scaling_experts: with " << larger << " times more parameters a byte takes " << slower
              << " times longer\n";
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"Trains language models with 1 to 64 experts at the same work for each byte, and compares them."};
  example::Budget budget{.steps = 1000};
  budget.add_to(app);
  CLI11_PARSE(app, argc, argv);
  if (budget.quick && app.count("--steps") == 0) budget.steps = 300;
  const example::Domains data(MOE_EXAMPLE_DATA "/domains");
  std::cout << data.train.size() << " bytes to learn from, " << data.held_out.size() << " to be tested on, "
            << data.alphabet << " different ones.\n\n"
            << std::flush;
  const std::vector<Index> experts =
      budget.quick ? std::vector<Index>{1, 16} : std::vector<Index>{1, 2, 4, 8, 16, 32, 64};
  std::vector<Run> runs = make_runs(experts, data.alphabet, budget);
  train(runs, data.train, budget);
  const std::vector<Result> results = test(runs, data.held_out);
  const example::Table table = table_of(results);
  std::cout << table;
  conclude(results);
  table.save_csv(budget.file("scaling_experts.csv"));
  scaling::draw(results).save(budget.file("scaling_experts.svg"));
  std::cout << "\nWritten: " << budget.file("scaling_experts.csv") << ", " << budget.file("scaling_experts.svg")
            << '\n';
  return holds(results, budget.quick ? 0.03 : 0.06) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "scaling_experts: " << error.what() << '\n';
  return EXIT_FAILURE;
}
