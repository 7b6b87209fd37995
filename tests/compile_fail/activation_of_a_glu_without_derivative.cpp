// EXPECT: moe::Glu::backward: the activation needs derivative<S>(chunk), static; see moe/expert/activations.hpp
#include "moe/moe.hpp"

struct Doubled {
  template <class S>
  static moe::Chunk<S> value(const moe::Chunk<S>& x) {
    return S(2) * x;
  }
#ifdef MOE_FIXED
  template <class S>
  static moe::Chunk<S> derivative(const moe::Chunk<S>& x) {
    return S(2) + S(0) * x;
  }
#endif
};

using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::Glu<float, Doubled>>;

moe::Matrix<float> train(const Layer& layer, const moe::Matrix<float>& x_TD, Layer::Tape& tape, Layer& gradient) {
  return layer.backward(x_TD, layer.forward(x_TD, tape), tape, gradient);
}
