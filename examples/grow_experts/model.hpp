// A small language model of bytes: the bytes before, embedded side by side, a layer of experts around a residual, a
// linear head.
#pragma once

#include <cmath>
#include <cstddef>
#include <numbers>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"
#include "text.hpp"

namespace grow {

using Expert = moe::Mlp<float, moe::Relu>;
using MoeLayer =
    moe::Layer<moe::Router<float>, moe::TopK, Expert, moe::Losses<moe::LoadBalanceLoss, moe::GateLabelLoss>>;

inline constexpr Index embedded = 12, width = context_length * embedded + profile_width, hidden = 96;

inline std::vector<Expert> random_experts(Index count, moe::Random& random) {
  return moe::make_experts<Expert>(count, width, hidden, random, moe::ExpertOptions{.bias = true});
}

struct Model {
  Matrix embedding_VP;
  MoeLayer moe;
  moe::Linear<float> head;

  struct Tape {
    Matrix x_TD, h_TD, logits_TV, dh_TD, dx_TD;
    MoeLayer::Tape moe;
    moe::Linear<float>::Tape head;
  };

  static Model random(Index codes, Index experts, moe::Random& random) {
    moe::Router<float> router = moe::Router<float>::random(experts, width, random);
    router.bias_E.setZero(experts);
    return {moe::random_matrix<float>(codes, embedded, random),
            {router,
             moe::TopK{.k = 2},
             random_experts(experts, random),
             {moe::LoadBalanceLoss{.coefficient = 1e-2}, moe::GateLabelLoss{.coefficient = 0}}},
            moe::Linear<float>::random(width, codes, random)};
  }

  /// Bits that each byte costs, on average.
  double forward(const Sample& sample, Tape& tape) const {
    const Index tokens = sample.tokens();
    tape.x_TD.resize(tokens, width);
    tape.x_TD.rightCols(profile_width) = sample.profile_TQ;
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < context_length; ++c)
        tape.x_TD.row(t).segment(c * embedded, embedded) = embedding_VP.row(sample.context_TC(t, c));
    tape.h_TD = tape.x_TD + moe.forward(tape.x_TD, tape.moe);
    tape.logits_TV.resize(tokens, head.output_width());
    head.forward(tape.h_TD, tape.logits_TV, tape.head);
    double nats = 0;
    for (Index t = 0; t < tokens; ++t) {
      auto row = tape.logits_TV.row(t).array();  // becomes the log-probabilities
      row -= row.maxCoeff();
      row -= std::log(row.exp().sum());
      nats -= static_cast<double>(row(sample.next[static_cast<std::size_t>(t)]));
    }
    return nats / static_cast<double>(tokens) / std::numbers::ln2;
  }

  void backward(const Sample& sample, Tape& tape, Model& gradient) const {
    const Index tokens = sample.tokens();
    Matrix& dlogits_TV = tape.logits_TV;
    dlogits_TV = dlogits_TV.array().exp();
    for (Index t = 0; t < tokens; ++t) dlogits_TV(t, sample.next[static_cast<std::size_t>(t)]) -= 1;
    dlogits_TV /= static_cast<float>(tokens);
    tape.dh_TD.resize(tokens, width);
    head.backward(tape.h_TD, dlogits_TV, tape.head, tape.dh_TD, gradient.head);
    tape.dx_TD = tape.dh_TD + moe.backward(tape.x_TD, tape.dh_TD, tape.moe, gradient.moe);
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < context_length; ++c)
        gradient.embedding_VP.row(sample.context_TC(t, c)) += tape.dx_TD.row(t).segment(c * embedded, embedded);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("embedding", self.embedding_VP...);
    moe::visit_part("moe", f, self.moe...);
    moe::visit_part("head", f, self.head...);
  }
};

}  // namespace grow
