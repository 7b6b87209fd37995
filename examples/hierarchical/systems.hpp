// The systems that are compared, and what they are trained on: a flat layer of linear experts, and a tree of such
// layers, with a sparse gate (2017) or a dense one (1994).
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/moe.hpp"

namespace hierarchical {

using moe::Index;
using Matrix = moe::Matrix<double>;
using Router = moe::Router<double>;
using Expert = moe::Linear<double>;

/// The gates on both levels are balanced, as in the paper, by how much weight and how many tokens each expert gets.
using SparseGate = moe::NoisyTopK<double>;
using Balance = moe::Losses<moe::ImportanceLoss, moe::LoadLoss>;

template <class Gate, class Losses>
using Flat = moe::Layer<Router, Gate, Expert, Losses>;
template <class Gate, class Losses>
using Tree = moe::Layer<Router, Gate, Flat<Gate, Losses>, Losses>;

/// A layer whose experts are layers.
template <class Model>
concept IsTree = requires(const Model model) {
  model.experts[0].experts;
};

struct Set {
  Matrix x_TD;
  std::vector<Index> label;
  Matrix target_TO;  ///< 1 for the label, 0 for the others.

  Set(Matrix x, std::vector<Index> labels, Index classes) : x_TD(std::move(x)), label(std::move(labels)) {
    target_TO.setZero(x_TD.rows(), classes);
    for (Index t = 0; t < count(); ++t) target_TO(t, label[static_cast<std::size_t>(t)]) = 1;
  }

  Index count() const { return x_TD.rows(); }
  Set rows(const std::vector<Index>& of) const {
    std::vector<Index> labels;
    for (const Index row : of) labels.push_back(label[static_cast<std::size_t>(row)]);
    return {x_TD(of, Eigen::seqN(0, x_TD.cols())), labels, target_TO.cols()};
  }
};

struct Data {
  Set train, test;
};

/// So many groups of so many experts, of which a token uses k and k.
struct Shape {
  Index groups = 4, experts = 4, k = 2;
};

/// The sparse gates start even, as in the paper, and their noise lets them try; the dense ones without noise start
/// apart.
template <class Gate>
Router router(Index experts, Index width, moe::Random& random) {
  Router linear =
      std::is_same_v<Gate, SparseGate> ? Router::zeros(experts, width) : Router::random(experts, width, random);
  linear.bias_E.setZero(experts);
  return linear;
}

template <class Gate>
Gate gate([[maybe_unused]] Index experts, [[maybe_unused]] Index width, [[maybe_unused]] Index k) {
  if constexpr (requires { Gate::zeros(experts, width, {.k = k}); })
    return Gate::zeros(experts, width, {.k = k});
  else
    return {};
}

template <class Gate, class Losses>
Flat<Gate, Losses> flat(Index experts, Index k, const Losses& losses, const Set& set, moe::Random& random) {
  const Index width = set.x_TD.cols();
  return {router<Gate>(experts, width, random), gate<Gate>(experts, width, k),
          moe::make_experts<Expert>(experts, width, set.target_TO.cols(), random), losses};
}

template <class Gate, class Losses>
Tree<Gate, Losses> tree(Shape shape, const Losses& losses, const Set& set, moe::Random& random) {
  const Index width = set.x_TD.cols();
  std::vector<Flat<Gate, Losses>> groups;
  for (Index g = 0; g < shape.groups; ++g) groups.push_back(flat<Gate>(shape.experts, shape.k, losses, set, random));
  return {router<Gate>(shape.groups, width, random), gate<Gate>(shape.groups, width, shape.k), std::move(groups),
          losses};
}

/// Mean cross-entropy of the weighted sum of the experts' outputs: logits.
struct CrossEntropy {
  template <class Model>
  double value(const Model&, const typename Model::Tape&, const Matrix& y_TO, const Set& set) const {
    return -(log_softmax(y_TO).cwiseProduct(set.target_TO)).sum() / static_cast<double>(set.count());
  }

  template <class Model>
  void backward(const Model& model, const Matrix& y_TO, const Set& set, typename Model::Tape& tape,
                Model& gradient) const {
    const Matrix error_TO = log_softmax(y_TO).array().exp().matrix() - set.target_TO;
    model.backward(set.x_TD, error_TO / static_cast<double>(set.count()), tape, gradient, moe::Serial{});
  }

 private:
  static Matrix log_softmax(const Matrix& y_TO) {
    const Matrix shifted_TO = y_TO.colwise() - y_TO.rowwise().maxCoeff();
    return shifted_TO.colwise() - shifted_TO.array().exp().rowwise().sum().log().matrix();
  }
};

/// Mean over tokens of -log of the mixture's density at the target, without its constant: every expert, or every branch
/// of the tree, is pulled to the targets in proportion to its posterior probability.
struct Likelihood {
  double variance = 0.1;

  template <class Model>
  double value(const Model&, const typename Model::Tape& tape, const Matrix&, const Set& set) const {
    const double tokens = static_cast<double>(set.count());
    if constexpr (IsTree<Model>)
      return moe::HierarchicalMixtureLoss{variance}.value(tape, set.target_TO) / tokens;
    else
      return moe::MixtureNegativeLogLikelihood{variance}.value<double>(tape.plan, tape.y_NO, set.target_TO) / tokens;
  }

  template <class Model>
  void backward(const Model& model, const Matrix&, const Set& set, typename Model::Tape& tape, Model& gradient) const {
    if constexpr (IsTree<Model>) {
      moe::HierarchicalMixtureLoss{variance}.backward(model, set.x_TD, set.target_TO, tape, 1, gradient, moe::Serial{});
    } else {
      Matrix dy_NO = Matrix::Zero(tape.y_NO.rows(), tape.y_NO.cols()), dx_TD(set.x_TD.rows(), set.x_TD.cols());
      moe::Vector<double> dweight_N = moe::Vector<double>::Zero(tape.plan.slots());
      moe::MixtureNegativeLogLikelihood{variance}.backward(tape.plan, tape.y_NO, set.target_TO, 1, dy_NO, dweight_N);
      model.backward_from_slots(set.x_TD, dy_NO, dweight_N, tape, dx_TD, gradient, moe::Serial{});
    }
  }
};

}  // namespace hierarchical
