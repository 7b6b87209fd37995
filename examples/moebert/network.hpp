// A network with one residual block around a feed-forward network, which is dense (moe::Mlp) or a mixture (moe::Layer).
#pragma once

#include <concepts>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/moe.hpp"

namespace moebert {

using moe::Index;
using Matrix = moe::Matrix<float>;
using Vector = moe::Vector<float>;
using Linear = moe::Linear<float>;
using Dense = moe::Mlp<float, moe::Relu>;
using HashMixture = moe::Layer<moe::NoRouter<float>, moe::Hash, Dense>;
using GateMixture = moe::Layer<moe::Router<float>, moe::TopK, Dense, moe::Losses<moe::LoadBalanceLoss>>;

/// A layer knows the tokens' ids, an expert by itself does not.
template <class Ffn>
concept IsMixture = requires(const Ffn ffn) {
  ffn.experts;
};

/// The two places where the student is compared with the teacher besides the logits: the block's input and its output.
struct States {
  Matrix embedded_TD, block_TD, logits_TO;
};

/// embedded = pixels We' + be;  block = embedded + ffn(embedded);  logits = block Wh' + bh
template <class Ffn>
struct Network {
  Linear embedding;
  Ffn ffn;
  Linear head;

  struct Tape {
    States states;
    Matrix ffn_TD, dffn_TD;
    typename Ffn::Tape ffn;
    Linear::Tape linear;
  };

  const Matrix& forward(const moe::Batch<float>& images, Tape& tape) const {
    auto& [embedded_TD, block_TD, logits_TO] = tape.states;
    embedded_TD.resize(images.tokens(), embedding.output_width());
    tape.ffn_TD.resize(images.tokens(), head.weight_OD.cols());
    logits_TO.resize(images.tokens(), head.output_width());
    embedding.forward(images.x_TD, embedded_TD, tape.linear);
    if constexpr (IsMixture<Ffn>)
      ffn.forward_into(inner(embedded_TD, images), tape.ffn_TD, tape.ffn, moe::Serial{});
    else
      ffn.forward(embedded_TD, tape.ffn_TD, tape.ffn);
    block_TD = embedded_TD + tape.ffn_TD;
    head.forward(block_TD, logits_TO, tape.linear);
    return logits_TO;
  }

  /// gradient += that of a loss on the states of the pass that `tape` recorded.
  void backward(const moe::Batch<float>& images, const States& slope, Tape& tape, Network& gradient) const {
    Matrix dblock_TD(images.tokens(), head.weight_OD.cols()), dimages(images.tokens(), images.x_TD.cols());
    head.backward(tape.states.block_TD, slope.logits_TO, tape.linear, dblock_TD, gradient.head);
    dblock_TD += slope.block_TD;
    tape.dffn_TD.resize(dblock_TD.rows(), dblock_TD.cols());
    const Matrix& embedded_TD = tape.states.embedded_TD;
    if constexpr (IsMixture<Ffn>)
      ffn.backward_into(inner(embedded_TD, images), dblock_TD, tape.ffn, tape.dffn_TD, gradient.ffn, moe::Serial{});
    else
      ffn.backward(embedded_TD, dblock_TD, tape.ffn, tape.dffn_TD, gradient.ffn);
    dblock_TD += tape.dffn_TD + slope.embedded_TD;
    embedding.backward(images.x_TD, dblock_TD, tape.linear, dimages, gradient.embedding);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("embedding", f, self.embedding...);
    moe::visit_part("ffn", f, self.ffn...);
    moe::visit_part("head", f, self.head...);
  }

 private:
  static moe::Batch<float> inner(const Matrix& embedded_TD, const moe::Batch<float>& images) {
    moe::Batch<float> tokens(embedded_TD);
    tokens.ids = images.ids;
    return tokens;
  }
};

inline Network<Dense> random_network(Index pixels, Index width, Index hidden, Index classes, moe::Random& random) {
  return {Linear::random(pixels, width, random), Dense::random(width, hidden, random, {.bias = true}),
          Linear::random(width, classes, random)};
}

}  // namespace moebert
