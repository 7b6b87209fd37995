// Trains language models whose every other block is a mixture of experts.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numbers>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "language_model.hpp"
#include "moe/optim/adamw.hpp"
#include "moe/optim/gradient_norm.hpp"
#include "text.hpp"

namespace example {

struct ModelSize {
  Index width = 64, heads = 2, blocks = 4;
  Index hidden = 128;  ///< Of a feed-forward network, or of what a token meets of a mixture.
};

/// A model with RMS norms and rotary positions; `make_ffn(block)` makes each block's feed-forward part.
template <class F>
LanguageModel<F> random_language_model(Index codes, const ModelSize& size, const std::function<F(Index)>& make_ffn,
                                       moe::Random& random) {
  using S = typename F::Scalar;
  LanguageModel<F> model{moe::random_matrix<S>(codes, size.width, random), {}, {}};
  auto& [norms, attentions, ffns] = model.transformer;
  const S shrink = S(1) / std::sqrt(static_cast<S>(2 * size.blocks));  // of what is added to the residual
  norms.assign(static_cast<std::size_t>(2 * size.blocks + 1), Norm<S>::rms(size.width));
  for (Index block = 0; block < size.blocks; ++block) {
    attentions.push_back(SelfAttention<S>::random(size.width, size.heads, true, true, random));
    attentions.back().to_output.weight_OD *= shrink;
    ffns.push_back(make_ffn(block));
  }
  model.head = moe::Linear<S>::random(size.width, codes, random);
  model.head.weight_OD *= S(0.5);
  return model;
}

struct TrainingOptions {
  Index length = 64, sequences = 16;  ///< Of each step.
  /// Of half a cosine over the whole training, down to a hundredth; its first twentieth is a warm-up, which multiplies
  /// that by 2 % rising to 100 %.
  double learning_rate = 6e-3;
  double weight_decay = 0.1, clip = 1;
  std::uint64_t seed = 1;

  Index tokens() const { return length * sequences; }

  double learning_rate_at(double fraction) const {
    const double floor = 0.01, warm = (std::min)(1.0, (fraction + 1e-3) / 0.05);
    return learning_rate * warm * (floor + (1 - floor) * (1 + std::cos(std::numbers::pi * fraction)) / 2);
  }
};

/// A model in training. Each step's randomness comes from the seed and the step's number alone, so that a training that
/// is saved and taken up again ends at the same bits.
template <class F>
struct LanguageTraining {
  using Model = LanguageModel<F>;

  Model model;
  TrainingOptions options;
  moe::AdamW<Model> adam;
  Index step = 0;
  typename Model::Tape tape;
  Model gradient;

  LanguageTraining(Model model_, TrainingOptions options_);

  /// One step on text drawn at random, `fraction` of the budget being used; returns its bits per byte.
  double advance(std::span<const std::int64_t> text, double fraction);
  /// The same on a given batch.
  double advance(const TextBatch& batch, double fraction, moe::Random& random);
};

template <class F>
LanguageTraining<F>::LanguageTraining(Model model_, TrainingOptions options_)
    : model(std::move(model_)),
      options(options_),
      adam(model, {.beta2 = 0.98, .weight_decay = options.weight_decay}),
      tape(model.tape()),
      gradient(moe::zeros_like(model)) {}

template <class F>
double LanguageTraining<F>::advance(std::span<const std::int64_t> text, double fraction) {
  moe::Random random(options.seed * 1'000'003 + static_cast<std::uint64_t>(step));
  return advance(draw_batch(text, options.sequences, options.length, random), fraction, random);
}

template <class F>
double LanguageTraining<F>::advance(const TextBatch& batch, double fraction, moe::Random& random) {
  Transformer<F>::seed(tape.transformer, random);
  const double nats = model.forward(batch, tape);
  moe::set_zero(gradient);
  model.backward(batch, tape, gradient);
  moe::clip_global_norm(gradient, options.clip);
  adam.options.learning_rate = options.learning_rate_at(fraction);
  if (!adam.step(model, gradient)) throw std::runtime_error("the gradient is not finite");
  ++step;
  return nats / std::numbers::ln2;
}

}  // namespace example
