// Parts whose backward pass lacks, or gets wrong, one term: the gradient check must find every one of them.
#pragma once

#include <cstddef>
#include <type_traits>

#include "moe/moe.hpp"

namespace gradients::mutants {

using moe::Index;
using Batch = moe::Batch<double>;
using Matrix = moe::Matrix<double>;
using Vector = moe::Vector<double>;
using Routing = moe::Routing<double>;
using MatrixRef = moe::MatrixRef<double>;

// Gates.

template <class G>
struct WeightGradientDropped : G {
  void backward(const Routing& routing, Routing& drouting) const {
    for (auto& choice : drouting.choices) choice.weight = 0;
    G::backward(routing, drouting);
  }
};

/// Sum over a token's choices of dweight * weight.
inline Vector inner_products(const Routing& routing, const Routing& drouting) {
  Vector inner_T = Vector::Zero(routing.tokens());
  for (std::size_t i = 0; i < routing.choices.size(); ++i)
    inner_T(routing.choices[i].token) += drouting.choices[i].weight * routing.choices[i].weight;
  return inner_T;
}

/// softmax_of_chosen: w dw instead of w (dw - sum w dw).
struct InnerProductDropped : moe::TopK {
  void backward(const Routing& routing, Routing& drouting) const {
    const Vector inner_T = inner_products(routing, drouting);
    TopK::backward(routing, drouting);
    for (const auto& c : routing.choices) drouting.logits_TE(c.token, c.expert) += c.weight * inner_T(c.token);
  }
};

/// renormalized: the sum that is divided by, taken for a constant.
struct DenominatorTakenForConstant : moe::TopK {
  void backward(const Routing& routing, Routing& drouting) const {
    const Vector inner_T = inner_products(routing, drouting);
    for (const auto& c : routing.choices)
      drouting.probabilities_TE(c.token, c.expert) +=
          inner_T(c.token) * c.weight / routing.probabilities_TE(c.token, c.expert);
    TopK::backward(routing, drouting);
  }
};

/// The softmax over all experts: p dp instead of p (dp - p'dp).
struct SoftmaxTakenForElementWise : moe::TopK {
  void backward(const Routing& routing, Routing& drouting) const {
    TopK::backward(routing, drouting);
    for (Index t = 0; t < routing.tokens(); ++t)
      drouting.logits_TE.row(t) +=
          routing.probabilities_TE.row(t) * routing.probabilities_TE.row(t).dot(drouting.probabilities_TE.row(t));
  }
};

struct NoiseWeightGradientDropped : moe::NoisyTopK<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, MatrixRef dx_TD,
                NoiseWeightGradientDropped&) const {
    moe::NoisyTopK<double> scratch = moe::zeros_like<moe::NoisyTopK<double>>(*this);
    moe::NoisyTopK<double>::backward(batch, routing, drouting, dx_TD, scratch);
  }
};

struct InputGradientOfNoiseDropped : moe::NoisyTopK<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, MatrixRef dx_TD,
                InputGradientOfNoiseDropped& gradient) const {
    Matrix scratch = dx_TD;
    moe::NoisyTopK<double>::backward(batch, routing, drouting, scratch, gradient);
  }
};

struct NoisyLogitsGradientDropped : moe::NoisyTopK<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, MatrixRef dx_TD,
                NoisyLogitsGradientDropped& gradient) const {
    moe::NoisyTopK<double>::backward(batch, routing, drouting, dx_TD, gradient);
    drouting.logits_TE -= drouting.noise.logits_TE;
  }
};

/// The slips that only another writer of the same gradient brings to light: `=` in place of `+=`.
struct LogitsGradientOverwritten : moe::TopK {
  void backward(const Routing& routing, Routing& drouting) const {
    Routing own = drouting;
    own.logits_TE.setZero();
    TopK::backward(routing, own);
    drouting.logits_TE = own.logits_TE;
  }
};

/// Of the chosen entries alone, since their weights are these probabilities.
struct ProbabilitiesGradientOverwritten : moe::TopK {
  void backward(const Routing& routing, Routing& drouting) const {
    for (auto& choice : drouting.choices) {
      drouting.probabilities_TE(choice.token, choice.expert) = choice.weight;
      choice.weight = 0;
    }
    TopK::backward(routing, drouting);
  }
};

struct InputGradientOverwritten : moe::NoisyTopK<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, MatrixRef dx_TD,
                InputGradientOverwritten& gradient) const {
    dx_TD.setZero();
    moe::NoisyTopK<double>::backward(batch, routing, drouting, dx_TD, gradient);
  }
};

// Losses.

struct OverwritesLogits : moe::RouterZLoss {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    drouting.logits_TE.setZero();
    RouterZLoss::backward(routing, scale, drouting);
  }
};

struct OverwritesProbabilities : moe::LoadBalanceLoss {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    drouting.probabilities_TE.setZero();
    LoadBalanceLoss::backward(routing, scale, drouting);
  }
};

struct OverwritesWeights : moe::ImportanceLoss {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    for (auto& choice : drouting.choices) choice.weight = 0;
    ImportanceLoss::backward(routing, scale, drouting);
  }
};

struct OverwritesNoise : moe::LoadLoss {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    drouting.noise.stddev_TE.setZero();
    LoadLoss::backward(routing, scale, drouting);
  }
};

template <class L>
struct OnePercentOff : L {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    L::backward(routing, 1.01 * scale, drouting);
  }
};

struct ThresholdTermDropped : moe::LoadLoss {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    const Matrix before = drouting.noise.logits_TE;
    LoadLoss::backward(routing, scale, drouting);
    drouting.noise.logits_TE = before;
  }
};

struct DeviationTermDropped : moe::LoadLoss {
  void backward(const Routing& routing, double scale, Routing& drouting) const {
    const Matrix before = drouting.noise.stddev_TE;
    LoadLoss::backward(routing, scale, drouting);
    drouting.noise.stddev_TE = before;
  }
};

// Routers.

struct RouterInputGradientDropped : moe::Router<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, Tape& tape, MatrixRef dx_TD,
                RouterInputGradientDropped& gradient) const {
    Matrix scratch = dx_TD;
    Router::backward(batch, routing, drouting, tape, scratch, gradient);
  }
};

struct RouterOverwritesInputGradient : moe::Router<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, Tape& tape, MatrixRef dx_TD,
                RouterOverwritesInputGradient& gradient) const {
    dx_TD.setZero();
    Router::backward(batch, routing, drouting, tape, dx_TD, gradient);
  }
};

struct RouterWeightGradientDropped : moe::Router<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, Tape& tape, MatrixRef dx_TD,
                RouterWeightGradientDropped& gradient) const {
    const Matrix before = gradient.weight_ED;
    Router::backward(batch, routing, drouting, tape, dx_TD, gradient);
    gradient.weight_ED = before;
  }
};

struct RouterBiasGradientDropped : moe::Router<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, Tape& tape, MatrixRef dx_TD,
                RouterBiasGradientDropped& gradient) const {
    const Vector before = gradient.bias_E;
    Router::backward(batch, routing, drouting, tape, dx_TD, gradient);
    gradient.bias_E = before;
  }
};

struct JitterForgotten : moe::Router<double> {
  void backward(const Batch& batch, const Routing& routing, Routing& drouting, Tape&, MatrixRef dx_TD,
                JitterForgotten& gradient) const {
    Tape without;
    Router::backward(batch, routing, drouting, without, dx_TD, gradient);
  }
};

// Experts.

struct DerivativeForgotten : moe::Silu {
  template <class S>
  static moe::Chunk<S> derivative(const moe::Chunk<S>&) {
    return S(1);
  }
};

using Mlp = moe::Mlp<double, moe::Silu>;
using Glu = moe::Glu<double, moe::Silu>;

struct ExpertInputGradientDropped : Mlp {
  void backward(moe::ConstMatrixRef<double> x, moe::ConstMatrixRef<double> dy, Tape& tape, MatrixRef dx,
                ExpertInputGradientDropped& gradient) const {
    Mlp::backward(x, dy, tape, dx, gradient);
    dx.setZero();
  }
};

struct ExpertBiasGradientDropped : Mlp {
  void backward(moe::ConstMatrixRef<double> x, moe::ConstMatrixRef<double> dy, Tape& tape, MatrixRef dx,
                ExpertBiasGradientDropped& gradient) const {
    const Vector before = gradient.b2_D;
    Mlp::backward(x, dy, tape, dx, gradient);
    gradient.b2_D = before;
  }
};

struct UpProjectionGradientDropped : Glu {
  void backward(moe::ConstMatrixRef<double> x, moe::ConstMatrixRef<double> dy, Tape& tape, MatrixRef dx,
                UpProjectionGradientDropped& gradient) const {
    const auto before = gradient.w3_FD;
    Glu::backward(x, dy, tape, dx, gradient);
    gradient.w3_FD = before;
  }
};

// The layer itself.

template <class L>
struct CombineForgetsWeights : L {
  using Tape = typename L::Tape;
  Matrix backward(const Batch& batch, const Matrix& dy_TO, Tape& tape, CombineForgetsWeights& gradient) const {
    Matrix dx_TD(batch.x_TD.rows(), batch.x_TD.cols());
    moe::combine_backward<double>(dy_TO, tape.plan, tape.y_NO, tape.dy_NO, tape.dweight_N);
    for (Index slot = 0; slot < tape.plan.slots(); ++slot)
      tape.dy_NO.row(slot) = dy_TO.row(tape.plan.token[static_cast<std::size_t>(slot)]);
    L::backward_from_slots(batch, tape.dy_NO, tape.dweight_N, tape, dx_TD, gradient);
    return dx_TD;
  }
};

template <class L>
struct LossesForgotten : L {
  using Tape = typename L::Tape;
  Matrix backward(const Batch& batch, const Matrix& dy_TO, Tape& tape, LossesForgotten& gradient) const {
    tape.loss_scale = 0;
    const Matrix dx_TD = L::backward(batch, dy_TO, tape, gradient);
    tape.loss_scale = 1;
    return dx_TD;
  }
};

}  // namespace gradients::mutants
