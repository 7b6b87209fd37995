// Trains language models whose every other block is a mixture of experts.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numbers>
#include <span>
#include <vector>

#include "language_model.hpp"
#include "text.hpp"
#include "training.hpp"

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

template <class F>
struct LanguageTraining : Training<LanguageModel<F>> {
  using Training<LanguageModel<F>>::Training;

  /// One step on text drawn at random, `fraction` of the budget being used; returns its bits per byte.
  double advance(std::span<const std::int64_t> text, double fraction);
  /// The same on a given batch.
  double advance(const TextBatch& batch, double fraction, moe::Random& random);
};

template <class F>
double LanguageTraining<F>::advance(std::span<const std::int64_t> text, double fraction) {
  moe::Random random = this->random_of_step();
  return advance(draw_batch(text, this->options.sequences, this->options.length, random), fraction, random);
}

template <class F>
double LanguageTraining<F>::advance(const TextBatch& batch, double fraction, moe::Random& random) {
  return this->learn(batch, fraction, random) / std::numbers::ln2;
}

}  // namespace example
