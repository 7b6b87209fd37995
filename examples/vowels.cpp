// Jacobs, Jordan, Nowlan and Hinton (1991), "Adaptive Mixtures of Local Experts", Neural Computation 3:79-87, again:
// mixtures of very simple experts and networks with one hidden layer learn to tell four vowels apart by their first two
// formants, on the recordings of Peterson and Barney (1952). Prints the paper's Table 1 beside what came out here, and
// writes vowels.svg (a trained mixture) and vowels.csv (every run) into the working directory.
//
//   vowels            25 runs of each system, as in the paper
//   vowels --quick    3 runs
//
// The experts, the gate and eq. 1 to 3 of the paper are in vowels/systems.hpp, the protocol in vowels/training.hpp.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"
#include "vowels/data.hpp"
#include "vowels/picture.hpp"
#include "vowels/report.hpp"
#include "vowels/systems.hpp"
#include "vowels/training.hpp"

namespace {

using vowels::Budget;
using vowels::HiddenLayerNetwork;
using vowels::Job;
using vowels::Run;
using vowels::System;

std::vector<System> all_systems(const vowels::Data& data) {
  const auto mixture = [&data](moe::Index experts) {
    return [&data, experts](double step, moe::Random& random) {
      return train(vowels::random_mixture(experts, random), step, data);
    };
  };
  const auto network = [&data](moe::Index hidden) {
    return [&data, hidden](double step, moe::Random& random) {
      return train(HiddenLayerNetwork::random(2, hidden, 4, random), step, data);
    };
  };
  return {{"4 experts", {88, 90, 1124, 23, "2 or 3"}, mixture(4)},
          {"8 experts", {88, 90, 1083, 12, "2 or 3"}, mixture(8)},
          {"6 hidden units", {88, 90, 2209, 83, ""}, network(6)},
          {"12 hidden units", {88, 90, 2435, 124, ""}, network(12)}};
}

/// All runs, in parallel; each draws from a generator of its own, so the results do not depend on the threads.
std::vector<Job> run_all(const std::vector<System>& systems, const std::vector<Budget>& budgets) {
  std::vector<Job> jobs;
  for (const Budget& budget : budgets)
    for (std::size_t s = 0; s < systems.size(); ++s)
      for (std::size_t run = 1; run <= budget.runs; ++run) jobs.push_back({s, budget.step, run});
  example::Progress progress("training", jobs.size());
  moe::DefaultExecutor{}.parallel_for(static_cast<moe::Index>(jobs.size()), [&](moe::Index i) {
    Job& job = jobs[static_cast<std::size_t>(i)];
    moe::Random random(job.seed);
    job.run = systems[job.system].train(job.step, random);
    progress.advance();
  });
  return jobs;
}

/// The run that has most of its training cases right.
void draw_best(const vowels::Data& data, const std::vector<Run>& runs, const std::string& path) {
  using example::fixed;
  const Run& best =
      *std::max_element(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.train < b.train; });
  vowels::Picture(*best.mixture, data)
      .draw("Two formants, four vowels: the gate uses " + std::to_string(best.live_experts) + " of its 4 experts",
            "after " + std::to_string(best.epochs) + " epochs; right: " + fixed(100 * best.train, 1) +
                " % of the training cases, " + fixed(100 * best.test, 1) + " % of the test cases",
            path);
}

double median_test(std::vector<Run> runs) {
  const auto middle = runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2);
  std::nth_element(runs.begin(), middle, runs.end(), [](const Run& a, const Run& b) { return a.test < b.test; });
  return middle->test;
}

/// Whether the backward passes agree with differences, and mixtures of 4 experts do in kind what the paper says.
bool plausible(const vowels::Data& data, const std::vector<Run>& four_experts) {
  const auto check = [](std::string_view failure, bool holds) {
    if (!holds) std::cerr << "vowels: " << failure << '\n';
    return holds;
  };
  moe::Random random(1);
  const auto expert = moe::testing::check_gradients(vowels::LineExpert::random(2, 4, random), data.test.formants_TD);
  const auto network =
      moe::testing::check_gradients(HiddenLayerNetwork::random(2, 6, 4, random), data.test.formants_TD);
  const double live = average(four_experts, &Run::live_experts).mean;
  return check("the expert's gradient is wrong", expert.passed) &&
         check("the network's gradient is wrong", network.passed) &&
         check("the median mixture of 4 experts has fewer than 85 % of the test cases right",
               median_test(four_experts) >= .85) &&
         check("of 4 experts not 1.5 to 3.5 are alive on average", live >= 1.5 && live <= 3.5);
}

}  // namespace

int main(int argc, char** argv) try {
  const bool quick = argc == 2 && std::string_view(argv[1]) == "--quick";
  if (argc > 1 && !quick) {
    std::cerr << "usage: vowels [--quick]\n";
    return 2;
  }
  const vowels::Data data = vowels::read_data(MOE_EXAMPLE_DATA "/peterson_barney.csv");
  const std::vector<Budget> budgets =
      quick ? std::vector<Budget>{{2, 3}, {4, 1}} : std::vector<Budget>{{2, 25}, {1, 5}, {4, 5}};
  std::cout << "Four vowels, spoken by 75 people, are told apart by two formants: " << data.train.kind.size()
            << " cases to learn from, " << data.test.kind.size() << " of other speakers to be tested on.\n\n"
            << std::flush;

  const std::vector<System> systems = all_systems(data);
  const std::vector<Job> jobs = run_all(systems, budgets);
  print_table_1(std::cout, systems, jobs, budgets.front());
  print_steps(std::cout, systems, jobs, budgets);
  print_differences(std::cout, jobs);

  const std::vector<Run> four_experts = runs_of(jobs, 0, budgets.front().step);
  draw_best(data, four_experts, "vowels.svg");
  write_csv(systems, jobs, "vowels.csv");
  std::cout
      << "\nWritten: vowels.svg (of the 4-expert runs the best on its training cases) and vowels.csv (all runs).\n";
  return plausible(data, four_experts) ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "vowels: " << error.what() << '\n';
  return EXIT_FAILURE;
}
