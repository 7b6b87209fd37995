// A transformer that tells the next byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cross_entropy.hpp"
#include "transformer.hpp"

namespace example {

/// Tokens and what comes after each, as sequences of one length. -1 instead: this token need not tell anything.
struct TextBatch {
  Index length;
  std::vector<std::int64_t> codes, next;

  Index tokens() const { return static_cast<Index>(codes.size()); }
};

/// Embedding, transformer, linear head.
template <class F>
struct LanguageModel {
  using S = typename F::Scalar;

  moe::Matrix<S> embedding_VD;
  Transformer<F> transformer;
  moe::Linear<S> head;

  struct Tape {
    typename Transformer<F>::Tape transformer;
    moe::Matrix<S> x_TD, h_TD, logits_TV, dh_TD, dx_TD;
    typename moe::Linear<S>::Tape head;
  };

  /// A tape for evaluation; for training its blocks' generators are to be seeded.
  Tape tape() const {
    Tape made;
    made.transformer = transformer.tape();
    return made;
  }

  /// Log-probabilities of every code in tape.logits_TV; returns the mean of the negative ones of what comes next.
  double forward(const TextBatch& batch, Tape& tape) const;

  /// gradient += that of the mean and of the auxiliary losses.
  void backward(const TextBatch& batch, Tape& tape, LanguageModel& gradient) const;

  template <class V, class... Self>
  static void visit_parameters(V&& f, Self&... self) {
    f("embedding", self.embedding_VD...);
    moe::visit_part("transformer", f, self.transformer...);
    moe::visit_part("head", f, self.head...);
  }
  template <class V, class... Self>
  static void visit_buffers(V&& f, Self&... self) {
    moe::visit_part_buffers("transformer", f, self.transformer...);
  }

 private:
  static Sequences sequences(const TextBatch& batch) { return {.length = batch.length, .ids = batch.codes}; }
};

// Out of the class, so that what is instantiated once need not be compiled again (support/moe_language.hpp).
template <class F>
double LanguageModel<F>::forward(const TextBatch& batch, Tape& tape) const {
  tape.x_TD.resize(batch.tokens(), embedding_VD.cols());
  for (Index t = 0; t < batch.tokens(); ++t)
    tape.x_TD.row(t) = embedding_VD.row(batch.codes[static_cast<std::size_t>(t)]);
  transformer.forward(tape.x_TD, sequences(batch), tape.h_TD, tape.transformer);
  tape.logits_TV.resize(batch.tokens(), head.output_width());
  head.forward(tape.h_TD, tape.logits_TV, tape.head, moe::DefaultExecutor{});
  return cross_entropy(tape.logits_TV, batch.next);
}

template <class F>
void LanguageModel<F>::backward(const TextBatch& batch, Tape& tape, LanguageModel& gradient) const {
  cross_entropy_gradient(tape.logits_TV, batch.next);
  tape.dh_TD.resize(batch.tokens(), embedding_VD.cols());
  head.backward(tape.h_TD, tape.logits_TV, tape.head, tape.dh_TD, gradient.head, moe::DefaultExecutor{});
  transformer.backward(sequences(batch), tape.dh_TD, tape.transformer, tape.dx_TD, gradient.transformer);
  for (Index t = 0; t < batch.tokens(); ++t)
    gradient.embedding_VD.row(batch.codes[static_cast<std::size_t>(t)]) += tape.dx_TD.row(t);
}

}  // namespace example
