// Go wider instead of deeper (WideNet, Xue et al. 2021): one attention and one mixture of experts serve all blocks of a
// transformer, and only the layer norms are each block's own. The paper's vision models have a fraction of the
// parameters of ViT and ViT-MoE and are more often right on ImageNet. Here the vision transformer is a small one and
// tells handwritten digits; WideNet is compared with one norm for all blocks, with a mixture in each block, and with
// feed-forward networks that cost a token as much as its two experts, shared (as ALBERT does) or not. Prints parameters
// and accuracies, writes widenet.csv and widenet.svg.
//
//   widenet            5 systems, 4 times each
//   widenet --quick    smaller ones once
#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "support/budget.hpp"
#include "support/chart.hpp"
#include "support/digits.hpp"
#include "support/moe_vision.hpp"
#include "support/progress.hpp"
#include "support/table.hpp"

namespace {

using example::fixed;
using moe::Index;

struct System {
  std::string name;
  bool shared, one_norm;
  Index experts;  ///< 1: a feed-forward network.
};

const std::vector<System> systems{{"shared MoE, own norms (WideNet)", true, false, 4},
                                  {"shared MoE, one norm", true, true, 4},
                                  {"MoE in each block", false, false, 4},
                                  {"shared dense", true, false, 1},
                                  {"dense in each block", false, false, 1}};
enum Name : std::size_t { widenet, one_norm, every_moe, shared_dense, every_dense };

struct Sizes {
  example::VisionSize model;
  Index hidden = 64;  ///< Of a feed-forward network; an expert has half, and a token meets two.
  Index repeats = 4, steps = 0;
  double seconds = 0;  ///< Of each training, if not by steps.
};

struct Run {
  Index parameters = 0, active = 0;
  double train = 0, test = 0, seconds = 0;
};

example::MoeLayer<float> make_ffn(const System& system, const Sizes& sizes, moe::Random& random) {
  const Index width = sizes.model.width;
  if (system.experts == 1) return example::dense_layer<float>(width, sizes.hidden, random);
  const moe::TopK gate{.k = 2, .weights = moe::ChoiceWeights::probabilities()};
  return {moe::Router<float>::random(system.experts, width, random), moe::FixedNoise{gate, 1.0},
          moe::make_experts<moe::Mlp<float, moe::Relu>>(system.experts, width, sizes.hidden / 2, random),
          example::LossCoefficients{.load_balance = 0.01}.losses()};
}

/// One norm in front of all attentions, and one in front of all feed-forward parts: the copies start alike, and stay so
/// because each gets the sum of their gradients. Works on the gradient.
void tie_norms(example::MoeVisionTransformer& gradient) {
  auto& norms = gradient.transformer.norms;
  for (std::size_t kind = 0; kind < 2; ++kind) {
    auto& sum = norms[kind];
    for (std::size_t i = kind + 2; i + 1 < norms.size(); i += 2) {
      sum.gain_D += norms[i].gain_D;
      sum.bias_D += norms[i].bias_D;
    }
    for (std::size_t i = kind + 2; i + 1 < norms.size(); i += 2) norms[i] = sum;
  }
}

/// Without the copies of a norm, and without the router that has nothing to choose.
Index parameters_of(const example::MoeVisionTransformer& model, const System& system) {
  const auto& [norms, attentions, ffns] = model.transformer;
  Index count = moe::parameter_count(model);
  if (system.one_norm) count -= (model.transformer.blocks() - 1) * 2 * moe::parameter_count(norms[0]);
  if (system.experts == 1) count -= static_cast<Index>(ffns.size()) * moe::parameter_count(ffns[0].router);
  return count;
}

/// What a token meets, as often as it meets it.
Index active_parameters_of(const example::MoeVisionTransformer& model, const System& system) {
  const auto& [norms, attentions, ffns] = model.transformer;
  const Index experts = (std::min)(system.experts, Index{2}), width = model.position_LD.cols();
  const Index router = system.experts > 1 ? moe::parameter_count(ffns[0].router) : 0;
  const Index block = moe::parameter_count(attentions[0]) + router + experts * moe::parameter_count(ffns[0].experts[0]);
  return moe::parameter_count(model.to_tokens) + width + model.transformer.blocks() * block +
         static_cast<Index>(norms.size()) * moe::parameter_count(norms[0]) + moe::parameter_count(model.head);
}

Run train(const System& system, const Sizes& sizes, std::uint64_t seed) {
  const auto data = example::read_digits(MOE_EXAMPLE_DATA "/digits8x8.csv", seed);
  const auto images = example::cut_images(data.train.x_TD, data.train.labels, sizes.model),
             tested = example::cut_images(data.test.x_TD, data.test.labels, sizes.model);
  moe::Random random(seed);
  const auto ffn = [&](Index) { return make_ffn(system, sizes, random); };
  example::VisionSize size = sizes.model;
  size.shared = system.shared;
  example::MoeVisionTraining training(example::random_vision_transformer<example::MoeLayer<float>>(size, ffn, random),
                                      {.sequences = 32, .learning_rate = 4e-3, .seed = seed});
  if (system.one_norm) training.adjust = tie_norms;
  Run run{parameters_of(training.model, system), active_parameters_of(training.model, system)};
  const auto start = std::chrono::steady_clock::now();
  const example::Pace pace(sizes.steps, sizes.seconds);
  for (double used = 0; used < 1; used = pace.fraction(training.step)) training.advance(images, used);
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  auto tape = training.model.tape();
  training.model.forward(images, tape);
  run.train = 100 * example::share_right(tape.logits_NC, images.label);
  training.model.forward(tested, tape);
  run.test = 100 * example::share_right(tape.logits_NC, tested.label);
  return run;
}

struct Average {
  double mean = 0, stddev = 0;

  Average(const std::vector<Run>& runs, double Run::*part) {
    const auto count = static_cast<double>(runs.size());
    for (const Run& run : runs) mean += run.*part / count;
    for (const Run& run : runs) stddev += std::pow(run.*part - mean, 2) / count;
    stddev = std::sqrt(stddev);
  }
  std::string text() const { return fixed(mean, 1) + " +- " + fixed(stddev, 1); }
};

using Results = std::vector<std::vector<Run>>;

Results train_all(const Sizes& sizes, std::uint64_t seed) {
  const auto repeats = static_cast<std::size_t>(sizes.repeats);
  Results results(systems.size(), std::vector<Run>(repeats));
  example::Progress progress("training", systems.size() * repeats);
  moe::DefaultExecutor{}.parallel_for(static_cast<Index>(systems.size() * repeats), [&](Index i) {
    const auto task = static_cast<std::size_t>(i), s = task % systems.size(), r = task / systems.size();
    results[s][r] = train(systems[s], sizes, seed * 1000 + r);
    progress.advance();
  });
  return results;
}

void report(const Results& results, const example::Budget& budget) {
  example::Table table({"system", "parameters", "active a token", "train, %", "test, %", "seconds"});
  example::LineChart chart{.title = "Handwritten digits: sharing one mixture among all blocks",
                           .subtitle = "each point a training; right answers (%) on 500 digits not trained on",
                           .x_name = "parameters",
                           .y_name = "right in the test (%)",
                           .log2_x = true};
  for (std::size_t s = 0; s < systems.size(); ++s) {
    const std::vector<Run>& runs = results[s];
    table.row({systems[s].name, std::to_string(runs[0].parameters), std::to_string(runs[0].active),
               Average(runs, &Run::train).text(), Average(runs, &Run::test).text(),
               fixed(Average(runs, &Run::seconds).mean, 1)});
    chart.series.push_back({systems[s].name, {}});
    for (const Run& run : runs) chart.series.back().points.push_back({static_cast<double>(run.parameters), run.test});
  }
  std::cout << table << '\n';
  table.save_csv(budget.file("widenet.csv"));
  chart.draw().save(budget.file("widenet.svg"));
}

/// What was measured, in words; false if WideNet loses more than so many points.
bool judge(const Results& results, double slack) {
  const auto test = [&](Name s) { return Average(results[s], &Run::test).mean; };
  const auto compared = [&](Name other) {
    std::vector<Run> differences = results[widenet];
    for (std::size_t r = 0; r < differences.size(); ++r) differences[r].test -= results[other][r].test;
    const Average by(differences, &Run::test);
    const std::string told =
        fixed(std::abs(by.mean), 1) + (by.mean < 0 ? " worse" : " better") + " than " + systems[other].name;
    if (differences.size() == 1) return told;
    const double error = by.stddev / std::sqrt(static_cast<double>(differences.size() - 1));
    return told + " (standard error " + fixed(error, 1) + (std::abs(by.mean) > 2 * error ? ")" : ": no difference)");
  };
  const double ratio =
      static_cast<double>(results[every_moe][0].parameters) / static_cast<double>(results[widenet][0].parameters);
  std::cout << "WideNet has " << fixed(ratio, 1)
            << " times fewer parameters than a mixture in each block. In points of "
            << "per cent of the test it is\n  " << compared(every_moe) << ",\n  " << compared(every_dense) << ",\n  "
            << compared(shared_dense) << ",\n  " << compared(one_norm) << ".\n";
  const bool holds = ratio > 2.5 && test(widenet) > 75 && test(widenet) > test(every_moe) - slack &&
                     test(widenet) > test(shared_dense) - slack && test(widenet) > test(one_norm) - slack;
  if (!holds) std::cerr << "widenet: one mixture for all blocks loses too much against the others\n";
  return holds;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"One mixture of experts for all blocks (WideNet) against one in each, on handwritten digits"};
  example::Budget budget{.steps = 400};
  Sizes sizes{.model = {.width = 32, .blocks = 6}};
  budget.add_to(app);
  app.add_option("--repeats", sizes.repeats, "trainings of each system")->check(CLI::PositiveNumber);
  app.add_option("--blocks", sizes.model.blocks, "of the transformer")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (budget.quick) {
    sizes.repeats = 1, sizes.model.blocks = 3;
    budget.steps = 200;
  }
  sizes.steps = budget.steps;
  sizes.seconds = budget.seconds / static_cast<double>(systems.size() * static_cast<std::size_t>(sizes.repeats));
  const Results results = train_all(sizes, budget.seed);
  report(results, budget);
  const bool holds = judge(results, budget.quick ? 12 : 4);  // what is shared learns more slowly at first
  std::cout << "\nWritten: " << budget.file("widenet.csv") << ", " << budget.file("widenet.svg") << '\n';
  return holds ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::cerr << "widenet: " << error.what() << '\n';
  return EXIT_FAILURE;
}
