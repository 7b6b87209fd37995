// What the program is told on its command line.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "../support/budget.hpp"
#include "../support/language_training.hpp"
#include "variants.hpp"

namespace language_model {

struct Options {
  example::Budget budget{.steps = 2000};
  double minutes = 0;
  std::string text = MOE_EXAMPLE_DATA "/pride_and_prejudice.txt";
  std::vector<std::string> models{"dense", "switch"};
  Settings settings;
  example::TrainingOptions training;
  bool bfloat_moments = false;
  Index sampled = 300, stop_after = 0;
  std::string save, resume;

  void add_to(CLI::App& app) {
    using example::at_least_0, example::greater_than_0;
    budget.add_to(app);
    app.option_defaults()->always_capture_default();
    app.add_option("--minutes", minutes, "instead of --steps and --seconds: train all models for so long together")
        ->check(greater_than_0());
    app.add_option("--text", text, "file to learn from, of 1000 bytes or more; its last tenth is held out");
    app.add_option("--models", models, "of dense, switch, gshard, noisy, expert-choice, hash, deepseek")
        ->delimiter(',')
        ->check(CLI::IsMember(names).description(""));
    app.add_option("--experts", settings.experts,
                   "of a mixture, each as large as the dense network (gshard, noisy, deepseek: more and smaller ones)")
        ->check(greater_than_0());
    app.add_option("--capacity", settings.capacity, "capacity factor in training (switch, gshard)")
        ->check(greater_than_0());
    app.add_option("--load-balance", settings.load_balance, "coefficient of the load balance loss (switch, gshard)")
        ->check(at_least_0());
    app.add_option("--router-z", settings.router_z, "coefficient of the router z-loss (switch, gshard)")
        ->check(at_least_0());
    app.add_option("--importance", settings.importance, "coefficient of the importance loss (noisy)")
        ->check(at_least_0());
    app.add_option("--load", settings.load, "coefficient of the load loss (noisy)")->check(at_least_0());
    app.add_option("--width", settings.size.width, "of a token")->check(greater_than_0());
    app.add_option("--hidden", settings.size.hidden, "units of a feed-forward layer that work on a token")
        ->check(greater_than_0());
    app.add_option("--blocks", settings.size.blocks, "of attention and feed-forward layer; every other has experts")
        ->check(greater_than_0());
    app.add_option("--heads", settings.size.heads, "of attention")->check(greater_than_0());
    app.add_option("--length", training.length, "bytes of a sequence")->check(greater_than_0());
    app.add_option("--sequences", training.sequences, "of a step")->check(greater_than_0());
    app.add_option("--learning-rate", training.learning_rate, "the greatest, after the warm-up")
        ->check(greater_than_0());
    app.add_flag("--bfloat-moments", bfloat_moments, "keep the optimiser's moments in 16 bits instead of 32");
    app.add_option("--sample", sampled, "bytes of text that each model makes up")->check(at_least_0());
    app.add_option("--save", save, "write each model and its optimiser to <this>-<model>.safetensors");
    app.add_option(
        "--resume", resume,
        "go on from such files, with the options that they were made with; --steps counts from the first run");
    app.add_option("--stop-after", stop_after, "steps after which to stop, before the budget is used up")
        ->check(greater_than_0());
    app.footer(
        "Status 1: a model has not beaten n-grams, or the dense one is better; the results are written all the same.");
  }

  /// After the command line has been read, what follows from it. Throws std::invalid_argument.
  void settle(const CLI::App& app) {
    if (minutes > 0) budget.seconds = 60 * minutes;
    training.seed = budget.seed;
    if (bfloat_moments) training.moments = moe::MomentFormat::bfloat16;
    const auto when_quick = [&](const char* option, Index& value, Index quick) {
      if (budget.quick && app.count(option) == 0) value = quick;
    };
    when_quick("--blocks", settings.size.blocks, 2);
    when_quick("--experts", settings.experts, 4);
    when_quick("--length", training.length, 32);
    when_quick("--steps", budget.steps, 300);
    when_quick("--sample", sampled, 40);
    for (const std::string& name : models) {
      if (std::count(models.begin(), models.end(), name) > 1)
        throw std::invalid_argument("the model '" + name + "' is named more than once");
      if (name != "dense" && settings.size.blocks < 2)
        throw std::invalid_argument("every other block has experts, from the second one on: '" + name +
                                    "' needs 2 blocks or more");
    }
  }
};

}  // namespace language_model
