// The ways to go on when new texts arrive.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "../support/progress.hpp"
#include "model.hpp"
#include "text.hpp"

namespace grow {

inline constexpr Index tokens_per_step = 256, old_experts = 4, newcomers = 4;

/// A model and its optimiser, in training.
struct Learner {
  Model model;
  moe::AdamW<Model> adam{model, {.weight_decay = 0.01}};
};

/// What a training phase draws from: a share of each batch is old text.
struct Diet {
  std::vector<const Domain*> texts, old_texts;
  double old_share = 0;
};

template <class SomeModel>  // const or not
auto& label_loss(SomeModel& model) {
  return std::get<moe::GateLabelLoss>(model.moe.losses.all);
}

/// Tells the gate of a grown model which tokens are old.
inline void label(Model& model, Index old_tokens) {
  auto& loss = label_loss(model);
  loss.label_of_token.assign(static_cast<std::size_t>(tokens_per_step), 1);
  std::fill_n(loss.label_of_token.begin(), old_tokens, Index{0});
}

inline void train(Learner& learner, const Diet& diet, Index steps, moe::Random& random, example::Progress& progress) {
  auto& [model, adam] = learner;
  const moe::CosineSchedule schedule{.peak = 3e-3, .total = steps, .warmup = steps / 20, .floor = 1e-4};
  const auto old_tokens = static_cast<Index>(diet.old_share * static_cast<double>(tokens_per_step));
  Model::Tape tape;
  Model gradient = moe::zeros_like(model);
  Sample sample(tokens_per_step);
  for (Index step = 0; step < steps; ++step) {
    sample.draw(diet.old_texts, 0, old_tokens, random);
    sample.draw(diet.texts, old_tokens, tokens_per_step, random);
    if (label_loss(model).coefficient > 0) label(model, old_tokens);
    adam.options.learning_rate = schedule.at(step);
    model.forward(sample, tape);
    moe::set_zero(gradient);
    model.backward(sample, tape, gradient);
    if (!adam.step(model, gradient)) throw std::runtime_error("the gradient is not finite");
    progress.advance();
  }
  label_loss(model).label_of_token.clear();
}

/// Four experts more, which alone are trained from now on, with their rows of the router: everything else is frozen.
/// The optimiser's moments grow along.
inline void grow_by_newcomers(Learner& learner, double label_coefficient, moe::Random& random) {
  auto& [model, adam] = learner;
  auto [mean, square] = adam.moments();
  moe::add_experts(model.moe, moe::Router<float>::zeros(newcomers, width), random_experts(newcomers, random), mean.moe,
                   square.moe);
  adam.frozen = moe::Frozen::all_but(moe::expert_parameters(model.moe, {4, 5, 6, 7}, "moe."));
  std::get<moe::LoadBalanceLoss>(model.moe.losses.all).coefficient = 0;  // old and new experts need not be used alike
  label_loss(model).coefficient = label_coefficient;
  label_loss(model).label_of_expert = {0, 0, 0, 0, 1, 1, 1, 1};
}

/// Bits per byte of each domain's held-out text, and how much weight the newcomers have there.
struct Result {
  std::string name;
  Index trained_parameters = 0;
  bool is_grown = false;
  std::array<double, 4> bits{}, newcomers_share{};
};

inline Result examine(std::string name, const Learner& learner, const Texts& texts) {
  Result result{.name = std::move(name), .is_grown = !label_loss(learner.model).label_of_expert.empty()};
  moe::for_each_parameter(
      [&](std::string_view path, const auto& parameter) {
        learner.adam.frozen.for_each_trained_run(path, parameter,
                                                 [&](Index, Index count) { result.trained_parameters += count; });
      },
      learner.model);
  for (std::size_t d = 0; d < texts.domains.size(); ++d) {
    Model::Tape tape;
    result.bits[d] = learner.model.forward(all_of(texts.domains[d].held_out), tape);
    for (const auto& choice : tape.moe.routing.choices)
      if (result.is_grown && choice.expert >= old_experts)
        result.newcomers_share[d] +=
            static_cast<double>(choice.weight) / static_cast<double>(tape.moe.routing.tokens());
  }
  return result;
}

}  // namespace grow
