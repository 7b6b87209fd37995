// Three training regimes in one mixture: its experts separately, each on its own part of the data; then the gate,
// supervised by given labels; then both jointly. Ten vowels are told from pitch and two formants (Peterson and Barney
// 1952); an expert each for men, women and children, and who speaks is the gate's label. Compared with the same mixture
// trained jointly from the start, and with one expert for everybody. Prints a table and writes training_regimes.svg.
//
//   training_regimes            8 runs
//   training_regimes --quick    one short run
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"
#include "support/chart.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"
#include "training_regimes/data.hpp"
#include "training_regimes/training.hpp"

namespace {

using example::fixed;
using moe::Index;
using regimes::Curve;
using regimes::Run;
using regimes::Score;

using Quantity = std::function<double(const Run&)>;

struct Average {
  double mean = 0, stddev = 0;
};

Average average(const std::vector<Run>& runs, const Quantity& quantity) {
  Average result;
  const auto count = static_cast<double>(runs.size());
  for (const Run& run : runs) result.mean += quantity(run) / count;
  for (const Run& run : runs) result.stddev += std::pow(quantity(run) - result.mean, 2) / count;
  result.stddev = std::sqrt(result.stddev);
  return result;
}

std::string percent(const std::vector<Run>& runs, const Quantity& quantity) {
  const Average share = average(runs, quantity);
  return fixed(100 * share.mean, 1) + " +- " + fixed(100 * share.stddev, 1);
}

/// Of a run: the score after so many steps, in stages or jointly.
Quantity at(Curve Run::*curve, double Score::*part, std::size_t steps) {
  return [=](const Run& run) { return (run.*curve)[steps / regimes::interval - 1].*part; };
}

void print(const std::vector<Run>& runs, std::size_t steps) {
  example::Table table({"right in the test, %", "steps", "mixture", "expert of the group", "gate about the group"});
  const auto row = [&](const std::string& name, Curve Run::*curve, std::size_t done) {
    table.row({name, std::to_string(done), percent(runs, at(curve, &Score::whole, done)),
               percent(runs, at(curve, &Score::expert_of_group, done)), percent(runs, at(curve, &Score::gate, done))});
  };
  row("1. experts separately", &Run::in_stages, steps);
  row("2. gate by labels", &Run::in_stages, 2 * steps);
  row("3. both jointly", &Run::in_stages, 3 * steps);
  row("jointly from the start", &Run::jointly, 3 * steps);
  table.row({"one expert for everybody", std::to_string(3 * steps),
             percent(runs, [](const Run& run) { return run.one_expert.back(); })});
  std::cout << table << "\nMeans and standard deviations of " << runs.size() << " initial weights.\n";
}

void draw(const std::vector<Run>& runs, std::size_t steps, const std::string& path) {
  example::LineChart chart{
      .title = "Ten vowels: a mixture trained in stages, and from the start in one",
      .subtitle = "speakers of the test, averages of " + std::to_string(runs.size()) + " runs; from 60 % on",
      .x_name = "steps",
      .y_name = "right answers (%)"};
  const auto stage = static_cast<double>(steps);
  chart.bands = {{"1. experts separately", 0, stage},
                 {"2. gate by labels", stage, 2 * stage},
                 {"3. both jointly", 2 * stage, 3 * stage}};
  const auto curve = [&](const std::string& name, const std::function<Quantity(std::size_t)>& after) {
    example::LineChart::Series line{name, {}};
    for (std::size_t i = regimes::interval; i <= 3 * steps; i += regimes::interval) {
      const double share = 100 * average(runs, after(i)).mean;
      if (share >= 60) line.points.push_back({static_cast<double>(i), share});
    }
    chart.series.push_back(line);
  };
  curve("in stages", [](std::size_t i) { return at(&Run::in_stages, &Score::whole, i); });
  curve("jointly from the start", [](std::size_t i) { return at(&Run::jointly, &Score::whole, i); });
  curve("one expert for everybody", [](std::size_t i) -> Quantity {
    return [i](const Run& run) { return run.one_expert[i / regimes::interval - 1]; };
  });
  chart.draw().save(path);
}

/// Each stage must have done its work.
bool plausible(const std::vector<Run>& runs, std::size_t steps) {
  const auto mean = [&](double Score::*part, std::size_t done) {
    return average(runs, at(&Run::in_stages, part, done)).mean;
  };
  const bool holds = mean(&Score::expert_of_group, steps) > .78 && mean(&Score::gate, 2 * steps) > .8 &&
                     mean(&Score::whole, 2 * steps) > mean(&Score::whole, steps) && mean(&Score::whole, 3 * steps) > .8;
  if (!holds) std::cerr << "training_regimes: a stage has not learned what it should\n";
  return holds;
}

}  // namespace

int main(int argc, char** argv) try {
  const bool quick = argc == 2 && std::string_view(argv[1]) == "--quick";
  if (argc > 1 && !quick) {
    std::cerr << "usage: training_regimes [--quick]\n";
    return 2;
  }
  const regimes::Data data = regimes::read_data(MOE_EXAMPLE_DATA "/peterson_barney.csv");
  const std::size_t steps = quick ? 20 : 200;
  std::vector<Run> runs(quick ? 1 : 8);
  std::cout << data.train.tokens() << " vowels to learn from, " << data.test.tokens()
            << " of other speakers to be tested on.\n\n"
            << std::flush;
  example::Progress progress("training", runs.size());
  moe::DefaultExecutor{}.parallel_for(static_cast<Index>(runs.size()), [&](Index i) {
    moe::Random random(static_cast<std::uint64_t>(i) + 1);
    runs[static_cast<std::size_t>(i)] = regimes::train_all(data, static_cast<Index>(steps), random);
    progress.advance();
  });
  print(runs, steps);
  draw(runs, steps, "training_regimes.svg");
  std::cout << "\nWritten: training_regimes.svg\n";
  return quick || plausible(runs, steps) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "training_regimes: " << error.what() << '\n';
  return EXIT_FAILURE;
}
