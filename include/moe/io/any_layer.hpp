// A layer that can be any of those that checkpoints hold, for programs that read what they are given.
#pragma once

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/expert/activations.hpp"
#include "moe/expert/clamped_swiglu.hpp"
#include "moe/expert/mix.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sparse_mixer.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/gating/variant_gate.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// The weights of a layer and of the expert beside it: a constant, and 1 or a sigmoid of the token's own logit.
template <class S>
struct AnyMix {
  SigmoidMix<S> sigmoid = {};  ///< Empty: the expert's output as it is.
  double layer_weight = 1;     ///< NLLB's 1 - moe_token_dropout.

  bool has_sigmoid() const { return sigmoid.weight_LD.size() > 0; }

  void check(Index width) const {
    require(moe::detail::has_finite_bits(layer_weight), "AnyMix: layer_weight is ", layer_weight,
            ", it must be finite");
    if (has_sigmoid()) sigmoid.check(width);
  }

  template <class Exec = Serial>
  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> mix_N2, const Exec& executor = {}) const {
    check(x_ND.cols());
    if (has_sigmoid()) sigmoid.forward(x_ND, mix_N2, executor);
    if (!has_sigmoid()) mix_N2.setOnes();
    mix_N2.col(0).setConstant(static_cast<S>(layer_weight));
  }

  template <class Exec = Serial>
  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> mix_N2, MatrixRef<S> dmix_N2, MatrixRef<S> dx_ND,
                AnyMix& gradient, const Exec& executor = {}) const {
    check(x_ND.cols());
    if (has_sigmoid()) sigmoid.backward(x_ND, mix_N2, dmix_N2, dx_ND, gradient.sigmoid, executor);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    if ((... || self.has_sigmoid())) SigmoidMix<S>::visit_parameters(f, self.sigmoid...);
  }
};

template <class S>
using AnyGate = VariantGate<S, TopK, ScoredTopK, SparseMixer>;

/// A ClampedSwiGlu without a clamp is a SwiGlu.
template <class S>
using AnyExpert = VariantExpert<S, ClampedSwiGlu<S>, Mlp<S, Relu>, Mlp<S, SquaredRelu>, IdentityExpert<S>>;

/// What is beside the layer: nothing, a shared expert, or a bias.
template <class S>
using AnySharedExpert = VariantExpert<S, ZeroExpert<S>, ClampedSwiGlu<S>, Mlp<S, SquaredRelu>, ConstantExpert<S>>;

template <class S>
using AnyLayer = Shared<Layer<Router<S>, AnyGate<S>, AnyExpert<S>>, AnySharedExpert<S>, AnyMix<S>>;

}  // namespace io

MOE_NAMESPACE_END
