// The two kinds of system that the paper compares: a mixture of very simple experts, and a network with one hidden
// layer. Both are plain structs with the members of a moe::TrainableExpert.
#pragma once

#include <utility>

#include "data.hpp"
#include "moe/moe.hpp"

namespace vowels {

using ConstRef = moe::ConstMatrixRef<double>;
using Ref = moe::MatrixRef<double>;

/// 1 / (1 + exp(-x))
template <class Rows>
auto logistic(const Rows& x) {
  return (1 + (-x.array()).exp()).inverse().matrix();
}

/// Of experts and networks alike; the paper does not say.
inline double initial_weight(moe::Random& random) { return random.uniform() - .5; }

/// One logistic unit, and a softmax over the vowels that sees nothing but this unit: whatever the expert tells apart,
/// it tells apart along one straight line, on which two of its outputs are .5.
struct LineExpert {
  Vector line_weight_D, line_bias, class_weight_O, class_bias_O;

  struct Tape {
    Vector unit_N;
    Matrix y_NO, dlogits_NO;
  };

  static LineExpert random(moe::Index width, moe::Index outputs, moe::Random& random) {
    const auto draw = [&] { return initial_weight(random); };
    return {Vector::NullaryExpr(width, draw), Vector::NullaryExpr(1, draw), Vector::NullaryExpr(outputs, draw),
            Vector::NullaryExpr(outputs, draw)};
  }

  moe::Index output_width() const { return class_bias_O.size(); }

  void forward(ConstRef x_ND, Ref y_NO, Tape& tape) const {
    tape.unit_N = logistic((x_ND * line_weight_D).array() + line_bias(0));
    y_NO.noalias() = tape.unit_N * class_weight_O.transpose();
    y_NO.rowwise() += class_bias_O.transpose();
    y_NO.colwise() -= y_NO.rowwise().maxCoeff().eval();
    y_NO = y_NO.array().exp();
    y_NO.array().colwise() /= y_NO.rowwise().sum().eval().array();
    tape.y_NO = y_NO;
  }

  void backward(ConstRef x_ND, ConstRef dy_NO, Tape& tape, Ref dx_ND, LineExpert& gradient) const {
    const Matrix& y_NO = tape.y_NO;
    Matrix& dlogits_NO = tape.dlogits_NO;
    const Vector inner_N = dy_NO.cwiseProduct(y_NO).rowwise().sum();
    dlogits_NO = y_NO.array() * (dy_NO.colwise() - inner_N).array();
    gradient.class_weight_O.noalias() += dlogits_NO.transpose() * tape.unit_N;
    gradient.class_bias_O += dlogits_NO.colwise().sum().transpose();

    const Vector dline_N = (dlogits_NO * class_weight_O).array() * tape.unit_N.array() * (1 - tape.unit_N.array());
    gradient.line_weight_D.noalias() += x_ND.transpose() * dline_N;
    gradient.line_bias(0) += dline_N.sum();
    dx_ND.noalias() = dline_N * line_weight_D.transpose();
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("line_weight", self.line_weight_D...);
    f("line_bias", self.line_bias...);
    f("class_weight", self.class_weight_O...);
    f("class_bias", self.class_bias_O...);
  }
};

static_assert(moe::TrainableExpert<LineExpert, double>);

/// y = logistic(logistic(x w1' + b1) w2' + b2)
struct HiddenLayerNetwork {
  Matrix w1_FD;
  Vector b1_F;
  Matrix w2_OF;
  Vector b2_O;

  struct Tape {
    Matrix hidden_NF, y_NO;
  };

  static HiddenLayerNetwork random(moe::Index width, moe::Index hidden, moe::Index outputs, moe::Random& random) {
    const auto draw = [&] { return initial_weight(random); };
    return {Matrix::NullaryExpr(hidden, width, draw), Vector::NullaryExpr(hidden, draw),
            Matrix::NullaryExpr(outputs, hidden, draw), Vector::NullaryExpr(outputs, draw)};
  }

  moe::Index output_width() const { return b2_O.size(); }

  void forward(ConstRef x_ND, Ref y_NO, Tape& tape) const {
    tape.hidden_NF = logistic((x_ND * w1_FD.transpose()).rowwise() + b1_F.transpose());
    tape.y_NO = logistic((tape.hidden_NF * w2_OF.transpose()).rowwise() + b2_O.transpose());
    y_NO = tape.y_NO;
  }

  void backward(ConstRef x_ND, ConstRef dy_NO, Tape& tape, Ref dx_ND, HiddenLayerNetwork& gradient) const {
    const auto slope = [](const Matrix& y) { return y.array() * (1 - y.array()); };
    const Matrix doutput_NO = dy_NO.array() * slope(tape.y_NO);
    gradient.w2_OF.noalias() += doutput_NO.transpose() * tape.hidden_NF;
    gradient.b2_O += doutput_NO.colwise().sum().transpose();
    const Matrix dhidden_NF = (doutput_NO * w2_OF).array() * slope(tape.hidden_NF);
    gradient.w1_FD.noalias() += dhidden_NF.transpose() * x_ND;
    gradient.b1_F += dhidden_NF.colwise().sum().transpose();
    dx_ND.noalias() = dhidden_NF * w1_FD;
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("w1", self.w1_FD...);
    f("b1", self.b1_F...);
    f("w2", self.w2_OF...);
    f("b2", self.b2_O...);
  }
};

static_assert(moe::TrainableExpert<HiddenLayerNetwork, double>);

/// Every case goes to every expert; the gate's proportions p_i are a softmax of a linear map of the formants.
using Mixture = moe::Layer<moe::Router<double>, moe::Softmax, LineExpert>;

/// What the mixture minimises: eq. 3 of the paper, E = -sum over cases of log sum_i p_i exp(-||d - o_i||^2 / 2).
/// To try eq. 1 or eq. 2 write moe::CooperativeLoss or moe::CompetitiveLoss here.
using MixtureError = moe::MixtureNegativeLogLikelihood;

/// All logits of the gate are 0: at the start the proportions are equal.
inline Mixture random_mixture(moe::Index experts, moe::Random& random) {
  auto gate = moe::Router<double>::zeros(experts, 2);
  gate.bias_E.setZero(experts);
  return {std::move(gate), moe::Softmax{}, moe::make_experts<LineExpert>(experts, 2, 4, random)};
}

/// Adds the gradient of `MixtureError`: it starts from every expert's own output, not from the blend y.
inline void add_gradient(const Mixture& mixture, const Set& set, const Matrix&, Mixture::Tape& tape,
                         Mixture& gradient) {
  Matrix dy_NO = Matrix::Zero(tape.y_NO.rows(), tape.y_NO.cols());
  Matrix dx_TD(set.formants_TD.rows(), set.formants_TD.cols());
  Vector dweight_N = Vector::Zero(tape.plan.slots());
  MixtureError{}.backward(tape.plan, tape.y_NO, set.target_TO, 1, dy_NO, dweight_N);
  mixture.backward_from_slots(set.formants_TD, dy_NO, dweight_N, tape, dx_TD, gradient, moe::Serial{});
}

/// Adds the gradient of the sum over cases of ||d - y||^2 / 2.
inline void add_gradient(const HiddenLayerNetwork& network, const Set& set, const Matrix& y_TO,
                         HiddenLayerNetwork::Tape& tape, HiddenLayerNetwork& gradient) {
  Matrix dx_TD(set.formants_TD.rows(), set.formants_TD.cols());
  network.backward(set.formants_TD, y_TO - set.target_TO, tape, dx_TD, gradient);
}

}  // namespace vowels
