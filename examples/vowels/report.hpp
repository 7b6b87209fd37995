// What came out, beside Table 1 of the paper: text for the terminal, and every run as a line of a CSV file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "../support/csv.hpp"
#include "../support/table.hpp"
#include "training.hpp"

namespace vowels {

/// Table 1 of the paper, and the sentence on live experts from its text.
struct PaperRow {
  int train, test, epochs, stddev;
  std::string_view live_experts;
};

struct System {
  std::string_view name;
  PaperRow paper;
  std::function<Run(double step, moe::Random&)> train;
};

/// So many runs of every system with a step.
struct Budget {
  double step;
  std::size_t runs;
};

struct Job {
  std::size_t system;
  double step;
  std::uint64_t seed;
  Run run{};
};

inline std::vector<Run> runs_of(const std::vector<Job>& jobs, std::size_t system, double step) {
  std::vector<Run> runs;
  for (const Job& job : jobs)
    if (job.system == system && job.step == step) runs.push_back(job.run);
  return runs;
}

struct Average {
  double mean = 0, stddev = 0;
};

template <class Quantity>
Average average(const std::vector<Run>& runs, Quantity Run::*quantity) {
  const auto count = static_cast<double>(runs.size());
  Average result;
  for (const Run& run : runs) result.mean += static_cast<double>(run.*quantity) / count;
  double squares = 0;
  for (const Run& run : runs) squares += std::pow(static_cast<double>(run.*quantity) - result.mean, 2);
  if (runs.size() > 1) result.stddev = std::sqrt(squares / (count - 1));
  return result;
}

inline std::string live_experts(const std::vector<Run>& runs) {
  std::map<moe::Index, int> runs_with;
  for (const Run& run : runs) ++runs_with[run.live_experts];
  std::string text;
  for (const auto& [live, count] : runs_with)
    text += (text.empty() ? "" : ", ") + std::to_string(live) + " in " + std::to_string(count);
  return text;
}

inline void print_table_1(std::ostream& out, const std::vector<System>& systems, const std::vector<Job>& jobs,
                          Budget budget) {
  using example::fixed;
  example::Table table({"", "parameters", "", "train %", "test %", "epochs", "s.d.", "live experts"});
  for (std::size_t s = 0; s < systems.size(); ++s) {
    const auto& [train, test, epochs, stddev, live] = systems[s].paper;
    const std::vector<Run> runs = runs_of(jobs, s, budget.step);
    const Average here = average(runs, &Run::epochs);
    table.row({std::string(systems[s].name), std::to_string(runs.front().parameters), "1991", std::to_string(train),
               std::to_string(test), std::to_string(epochs), std::to_string(stddev), std::string(live)});
    table.row({"", "", "here", fixed(100 * average(runs, &Run::train).mean, 1),
               fixed(100 * average(runs, &Run::test).mean, 1), fixed(here.mean), fixed(here.stddev),
               runs.front().mixture ? live_experts(runs) : ""});
  }
  out << "Table 1: averages of 25 runs of each system in 1991, of " << budget.runs << " runs with step "
      << fixed(budget.step) << " here\n\n"
      << table << '\n';
}

/// Of as many runs as there are with every step, from the same initial weights.
inline void print_steps(std::ostream& out, const std::vector<System>& systems, const std::vector<Job>& jobs,
                        std::vector<Budget> budgets) {
  using example::fixed;
  std::sort(budgets.begin(), budgets.end(), [](const Budget& a, const Budget& b) { return a.step < b.step; });
  std::size_t runs_each = budgets.front().runs;
  std::vector<std::string> head{""};
  for (const Budget& budget : budgets) {
    runs_each = (std::min)(runs_each, budget.runs);
    head.push_back("step " + fixed(budget.step));
  }
  example::Table table(head);
  for (std::size_t s = 0; s < systems.size(); ++s) {
    std::vector<std::string> cells{std::string(systems[s].name)};
    for (const Budget& budget : budgets) {
      std::vector<Run> runs = runs_of(jobs, s, budget.step);
      runs.resize(runs_each);
      const double right = 100 * average(runs, &Run::test).mean;
      cells.push_back(fixed(average(runs, &Run::epochs).mean) + " (" + fixed(right, 1) + ")");
    }
    table.row(cells);
  }
  out << "Average epochs (test %) by the step; runs with each: " << runs_each << ", from the same initial weights\n\n"
      << table << '\n';
}

inline void print_differences(std::ostream& out, const std::vector<Job>& jobs) {
  out << "What differs from the paper, or is a guess:\n"
         "- The paper does not print its steps. Here all systems take the same one, and the second table shows that\n"
         "  the epochs follow it: \"half the epochs\" can be neither confirmed nor refuted.\n"
         "- The paper counts 75 speakers, the table has 76: the last is left out. Their order may differ, too.\n"
         "- \"A linear decision surface\" is read as one logistic unit and a softmax that sees only this unit; all\n"
         "  weights but the gate's start uniform in -.5 to .5.\n"
         "- The error of .08 at which a run stops is read as the average over the cases and the four outputs.\n";
  const auto confused = std::count_if(jobs.begin(), jobs.end(), [](const Job& job) { return job.run.test < .75; });
  const auto unfinished = std::count_if(jobs.begin(), jobs.end(), [](const Job& job) { return !job.run.reached; });
  if (confused > 0)
    out << "- In " << confused << " of " << jobs.size()
        << " runs less than 75 % of the test cases are right: one pair of vowels is not told apart yet.\n";
  if (unfinished > 0)
    out << "- In " << unfinished << " of " << jobs.size() << " runs the error stayed above .08; they count with "
        << most_epochs << " epochs.\n";
}

/// Throws std::runtime_error if the file cannot be written.
inline void write_csv(const std::vector<System>& systems, const std::vector<Job>& jobs, const std::string& path) {
  example::CsvWriter csv(path);
  csv.row("system", "step", "seed", "parameters", "epochs", "reached", "train", "test", "live_experts");
  for (const auto& [system, step, seed, run] : jobs)
    csv.row(systems[system].name, step, seed, run.parameters, run.epochs, run.reached, run.train, run.test,
            run.live_experts);
  csv.close();
}

}  // namespace vowels
