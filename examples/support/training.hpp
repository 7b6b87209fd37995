// What the trainings of all transformers have in common.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>
#include <stdexcept>
#include <utility>

#include "moe/core/random.hpp"
#include "moe/optim/adamw.hpp"

namespace example {

using moe::Index;

struct TrainingOptions {
  Index length = 64, sequences = 16;  ///< Of each step.
  /// Of half a cosine over the whole training, down to a hundredth; its first twentieth is a warm-up, which multiplies
  /// that by 2 % rising to 100 %.
  double learning_rate = 6e-3;
  double weight_decay = 0.1, clip = 1;
  moe::MomentFormat moments = moe::MomentFormat::same;
  std::uint64_t seed = 1;

  Index tokens() const { return length * sequences; }

  double learning_rate_at(double fraction) const {
    const double floor = 0.01, warm = (std::min)(1.0, (fraction + 1e-3) / 0.05);
    return learning_rate * warm * (floor + (1 - floor) * (1 + std::cos(std::numbers::pi * fraction)) / 2);
  }
};

/// A model in training. Each step's randomness comes from the seed and the step's number alone, so that a training that
/// is saved and taken up again ends at the same bits.
template <class Model>
struct Training {
  Model model;
  TrainingOptions options;
  moe::AdamW<Model> adam;
  std::function<void(Model&)> adjust;  ///< The gradient before it is used, if not empty.
  Index step = 0;
  typename Model::Tape tape;
  Model gradient;

  Training(Model model_, TrainingOptions options_)
      : model(std::move(model_)),
        options(options_),
        adam(model, {.beta2 = 0.98,
                     .weight_decay = options.weight_decay,
                     .clip_norm = options.clip,
                     .zero_gradient = true,
                     .moments = options.moments}),
        tape(model.tape()),
        gradient(moe::zeros_like(model)) {}

  moe::Random random_of_step() const {
    return moe::Random(options.seed * 1'000'003 + static_cast<std::uint64_t>(step));
  }

  /// One step on the batch, `fraction` of the budget being used; returns its loss in nats.
  template <class Batch>
  double learn(const Batch& batch, double fraction, moe::Random& random) {
    model.transformer.seed(tape.transformer, random);
    const double nats = model.forward(batch, tape);
    model.backward(batch, tape, gradient);
    if (adjust) adjust(gradient);
    adam.options.learning_rate = options.learning_rate_at(fraction);
    if (!adam.step(model, gradient)) throw std::runtime_error("the gradient is not finite");
    ++step;
    return nats;
  }
};

}  // namespace example
