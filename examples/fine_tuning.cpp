// Fine-tuning a mixture of experts on little text. Zoph et al. 2022 (ST-MoE, section 4): sparse models learn a small
// task by heart sooner than dense ones do, and overfit; training all but the mixtures works about as well as training
// all, training the mixtures alone much worse; sparse models want smaller batches and greater learning rates than dense
// ones; dropout in the experts helps, if little. Here a language model of bytes, sparse and dense, learns an English
// novel; then it is fine-tuned on 8 kB of the King James Bible in these ways. Prints a table; writes fine_tuning.csv
// and fine_tuning.svg.
//
//   fine_tuning                  two pretrainings and seven fine-tunings
//   fine_tuning --piece 20000    more text, which the model does not overfit in as many steps
//   fine_tuning --quick          a short one
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "fine_tuning/training.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"
#include "support/text.hpp"

namespace {

using namespace fine_tuning;
using example::fixed;

/// The order is that of the checks below.
std::vector<Mode> modes() {
  using Trained = Mode::Trained;
  return {{.name = "all"},
          {.name = "mixture only", .trained = Trained::mixture},
          {.name = "all but the mixture", .trained = Trained::rest},
          {.name = "all, expert dropout 0.4", .dropout = 0.4},
          {.name = "all, large batch, small rate", .sequences = 64, .learning_rate = 5e-4},
          {.name = "dense", .sparse = false},
          {.name = "dense, large batch, small rate", .sparse = false, .sequences = 64, .learning_rate = 5e-4}};
}
enum : std::size_t { all, only, rest, dropout, large, dense, dense_large };

std::vector<Run> run_all(const Setup& setup) {
  example::Alphabet alphabet;
  const example::Text novel(alphabet.encode(example::read_file(MOE_EXAMPLE_DATA "/domains/emma.txt")));
  const example::Codes bible = alphabet.encode(example::read_file(MOE_EXAMPLE_DATA "/domains/genesis.txt"));
  const auto split = static_cast<std::size_t>(setup.piece);
  const Text piece = Text(bible).first(split),
             held_out = Text(bible).subspan(split, static_cast<std::size_t>(setup.tested));
  const std::vector<Mode> list = modes();
  const auto checks = static_cast<std::size_t>(setup.checks);
  example::Progress progress("training", 2 * checks + list.size() * (checks + 1));
  const auto advance = [&] { progress.advance(); };
  const Model sparse_model = pretrain(setup, alphabet.size(), true, novel.train, advance);
  const Model dense_model = pretrain(setup, alphabet.size(), false, novel.train, advance);
  std::vector<Run> runs;
  for (const Mode& mode : list)
    runs.push_back(fine_tune(setup, mode.sparse ? sparse_model : dense_model, mode, piece, held_out, advance));
  return runs;
}

void print(const std::vector<Run>& runs, const Setup& setup) {
  example::Table table({"bits per byte", "parameters moved", "before", "best", "after so many passes", "at the end",
                        "the piece itself"});
  for (const Run& run : runs)
    table.row({run.mode.name, std::to_string(run.moved_parameters), fixed(run.curve.front().held_out, 3),
               fixed(run.best().held_out, 3), fixed(run.best().text / static_cast<double>(setup.piece), 1),
               fixed(run.last().held_out, 3), fixed(run.last().train, 3)});
  std::cout << table << "\nOf held-out text of the Bible, but for the last column. Passes over the piece of "
            << setup.piece << " bytes.\n";
}

void save(const std::vector<Run>& runs, const Setup& setup) {
  example::LineChart chart{.title = "Fine-tuning on " + std::to_string(setup.piece) + " bytes",
                           .subtitle = "held-out text; the piece: what is learned from, with all parameters trained",
                           .x_name = "passes over the piece",
                           .y_name = "bits per byte"};
  example::Table table({"mode", "bytes trained on", "piece", "held out"});
  const auto passes = [&](const Check& check) { return check.text / static_cast<double>(setup.piece); };
  for (const Run& run : runs) {
    example::LineChart::Series line{.name = run.mode.name, .points = {}, .dashed = !run.mode.sparse};
    for (const Check& check : run.curve) {
      table.row({run.mode.name, fixed(check.text), fixed(check.train, 4), fixed(check.held_out, 4)});
      line.points.push_back({passes(check), check.held_out});
    }
    chart.series.push_back(line);
  }
  example::LineChart::Series piece{.name = "the piece", .points = {}};
  for (const Check& check : runs[all].curve) piece.points.push_back({passes(check), check.train});
  chart.series.push_back(piece);
  chart.draw().save(setup.budget.file("fine_tuning.svg"));
  table.save_csv(setup.budget.file("fine_tuning.csv"));
}

double best(const Run& run) { return run.best().held_out; }
double by_heart(const Run& run) { return run.last().train; }
double rise(const Run& run) { return run.last().held_out - best(run); }

/// A claim of the paper, and whether it was found here.
struct Claim {
  std::string text;
  bool found;
  bool asserted = false;
};

std::vector<Claim> claims(const std::vector<Run>& runs, const Setup& setup) {
  const bool long_enough = runs[all].last().text / static_cast<double>(setup.piece) > 30;  // to overfit
  const double gained = runs[all].curve.front().held_out - best(runs[all]);
  const double of_all =
      static_cast<double>(runs[only].moved_parameters) / static_cast<double>(runs[all].moved_parameters);
  const auto margin = [](double bits) { return " (by " + fixed(bits, 3) + ")"; };
  const double sooner = by_heart(runs[dense]) - by_heart(runs[all]), overfit = rise(runs[all]) - rise(runs[dense]);
  const double fits_less = by_heart(runs[only]) - by_heart(runs[rest]);
  const double only_loses = best(runs[only]) - best(runs[all]), rest_loses = best(runs[rest]) - best(runs[all]);
  const double tempered = by_heart(runs[dropout]) - by_heart(runs[all]), helped = best(runs[all]) - best(runs[dropout]);
  const double small = best(runs[large]) - best(runs[all]), small_dense = best(runs[dense_large]) - best(runs[dense]);
  return {
      {"the sparse model learns the piece by heart sooner than the dense one" + margin(sooner), sooner > 0, true},
      {"held-out text gets worse again, more so than for the dense one" + margin(overfit),
       overfit > 0 && rise(runs[all]) > 0.02, long_enough},
      {"the mixture alone, " + fixed(100 * of_all) + " % of the parameters, learns less than the rest alone" +
           margin(fits_less),
       fits_less > 0, true},
      {"held-out text at its best is worse with the mixture alone than with all" + margin(only_loses), only_loses > 0},
      {"and about as good with all but the mixture" + margin(-rest_loses), rest_loses < gained / 20},
      {"expert dropout keeps from learning by heart" + margin(tempered), tempered > 0, true},
      {"and makes the best better" + margin(helped), helped > 0},
      {"small batches at a greater rate make the best better" + margin(small), small > 0},
      {"and more so than for the dense one" + margin(small - small_dense), small > small_dense}};
}

bool holds(bool claim, const std::string& complaint) {
  if (!claim) std::cerr << "fine_tuning: " << complaint << '\n';
  return claim;
}

bool plausible(const std::vector<Run>& runs, const std::vector<Claim>& list) {
  bool good = true;
  for (const Run& run : runs) {
    const std::string mode = run.mode.name + ": ";
    good &= holds(run.frozen_kept, mode + "a frozen parameter has moved");
    good &= holds(run.curve.front().held_out - best(run) > 0.1, mode + "fine-tuning does not help");
  }
  good &= holds(runs[only].moved_parameters + runs[rest].moved_parameters == runs[all].moved_parameters,
                "the mixture and the rest are not all parameters");
  const Check& end = runs[all].last();
  good &= holds(end.held_out - end.train > 0.3, "the piece is not learned by heart");
  for (const Claim& claim : list) good &= holds(claim.found || !claim.asserted, "not found: " + claim.text);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Setup setup;
  CLI::App app{"Fine-tuning a mixture of experts on little text"};
  setup.budget.add_to(app);
  app.add_option("--pretraining", setup.pretraining, "steps on the novel")->capture_default_str();
  app.add_option("--piece", setup.piece, "bytes to fine-tune on")
      ->capture_default_str()
      ->check(CLI::Range(1000, 300'000));
  CLI11_PARSE(app, argc, argv);
  try {
    if (setup.budget.quick) setup.make_quick();
    const std::vector<Run> runs = run_all(setup);
    print(runs, setup);
    const std::vector<Claim> list = claims(runs, setup);
    std::cout << "\nWhat Zoph et al. find, and whether it was found here (bits per byte):\n";
    for (const Claim& claim : list)
      std::cout << (claim.found ? "  found      " : "  not found  ") << claim.text << '\n';
    save(runs, setup);
    return plausible(runs, list) ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << "fine_tuning: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
