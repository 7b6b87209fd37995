// Trains experts whose activation has value and derivative: a case misspells one of them by a macro before it includes
// this.
#pragma once

#include "moe/moe.hpp"

struct Doubled {
  template <class S>
  static moe::Chunk<S> value(const moe::Chunk<S>& x) {
    return S(2) * x;
  }
  template <class S>
  static moe::Chunk<S> derivative(const moe::Chunk<S>& x) {
    return S(2) + S(0) * x;
  }
};

template <class Expert>
moe::Matrix<float> train(const moe::Matrix<float>& x_TD, std::mt19937_64& rng) {
  moe::Layer layer{moe::Router<float>::random(2, x_TD.cols(), rng), moe::TopK{.k = 2},
                   moe::make_experts<Expert>(2, x_TD.cols(), 4, rng)};
  typename decltype(layer)::Tape tape;
  auto gradient = moe::zeros_like(layer);
  return layer.backward(x_TD, layer.forward(x_TD, tape), tape, gradient);
}
