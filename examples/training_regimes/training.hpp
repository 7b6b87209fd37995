// Three ways to train a mixture, one after the other, and the same mixture without the first two.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "data.hpp"
#include "moe/moe.hpp"

namespace regimes {

using Expert = moe::Linear<double>;
using Mixture = moe::Layer<moe::Router<double>, moe::Softmax, Expert, moe::Losses<moe::GateLabelLoss>>;

inline constexpr moe::AdamWOptions options{.learning_rate = 0.03};

/// One expert for each group, one logit for each vowel.
inline Mixture random_mixture(moe::Random& random) {
  const auto count = static_cast<Index>(groups.size());
  auto router = moe::Router<double>::random(count, features, random);
  router.bias_E.setZero(count);
  return {router, moe::Softmax{}, moe::make_experts<Expert>(count, features, static_cast<Index>(vowels.size()), random),
          moe::GateLabelLoss{.coefficient = 0}};
}

/// d(mean cross-entropy) / d logits
inline Matrix error_of(const Matrix& logits_TO, const Set& set) {
  Matrix error_TO = (logits_TO.colwise() - logits_TO.rowwise().maxCoeff()).array().exp();
  error_TO.array().colwise() /= error_TO.rowwise().sum().array().eval();
  for (Index t = 0; t < set.tokens(); ++t) error_TO(t, set.vowel[static_cast<std::size_t>(t)]) -= 1;
  return error_TO / static_cast<double>(set.tokens());
}

inline double share_of_right(const Matrix& scores_TO, const std::vector<Index>& wanted) {
  Index right = 0, answer = 0;
  for (Index t = 0; t < scores_TO.rows(); ++t) {
    scores_TO.row(t).maxCoeff(&answer);
    if (answer == wanted[static_cast<std::size_t>(t)]) ++right;
  }
  return static_cast<double>(right) / static_cast<double>(scores_TO.rows());
}

/// Shares of right answers: of the whole, of the expert of the speaker's group, and of the gate about the group.
struct Score {
  double whole, expert_of_group, gate;
};

inline Score score(const Mixture& mixture, const Set& set) {
  Mixture::Tape tape;
  const Matrix y_TO = mixture.forward(set.x_TD, tape);
  Score result{share_of_right(y_TO, set.vowel), 0, share_of_right(tape.routing.logits_TE, set.group)};
  for (std::size_t e = 0; e < groups.size(); ++e) {
    const Set own = set.of_group(static_cast<Index>(e));
    Matrix own_TO(own.tokens(), y_TO.cols());
    Expert::Tape none;
    mixture.experts[e].forward(own.x_TD, own_TO, none);
    result.expert_of_group +=
        share_of_right(own_TO, own.vowel) * static_cast<double>(own.tokens()) / static_cast<double>(set.tokens());
  }
  return result;
}

template <class Model>
void step(moe::AdamW<Model>& adam, Model& model, const Model& gradient) {
  if (!adam.step(model, gradient)) throw std::runtime_error("the gradient is not finite");
}

/// An expert is a network of its own: it is trained without the layer.
inline void train_alone(Expert& expert, moe::AdamW<Expert>& adam, const Set& set) {
  Expert::Tape tape;
  Matrix y_TO(set.tokens(), expert.output_width()), dx_TD(set.tokens(), features);
  expert.forward(set.x_TD, y_TO, tape);
  Expert gradient = moe::zeros_like(expert);
  expert.backward(set.x_TD, error_of(y_TO, set), tape, dx_TD, gradient);
  step(adam, expert, gradient);
}

/// Scores on the test set, one after every `interval` steps.
using Curve = std::vector<Score>;
inline constexpr Index interval = 10;
inline bool is_due(Index step) { return (step + 1) % interval == 0; }

/// 1. Each expert on its own group, the gate untouched.
inline void train_experts_separately(Mixture& mixture, const Data& data, Index steps, Curve& curve) {
  std::vector<moe::AdamW<Expert>> optimizers;
  std::vector<Set> own;
  for (std::size_t e = 0; e < groups.size(); ++e) {
    optimizers.emplace_back(mixture.experts[e], options);
    own.push_back(data.train.of_group(static_cast<Index>(e)));
  }
  for (Index i = 0; i < steps; ++i) {
    for (std::size_t e = 0; e < groups.size(); ++e) train_alone(mixture.experts[e], optimizers[e], own[e]);
    if (is_due(i)) curve.push_back(score(mixture, data.test));
  }
}

/// 2. The gate on given labels, by cross-entropy, the experts frozen; 3. all of it on the task, when `labelled` is
/// false.
inline void train_layer(Mixture& mixture, bool labelled, const Data& data, Index steps, Curve& curve) {
  auto& label_loss = std::get<0>(mixture.losses.all);
  label_loss = {.coefficient = labelled ? 1.0 : 0.0, .label_of_token = data.train.group};
  moe::AdamW adam{mixture, options};
  if (labelled) adam.frozen = {"experts"};
  Mixture::Tape tape;
  for (Index i = 0; i < steps; ++i) {
    const Matrix y_TO = mixture.forward(data.train.x_TD, tape);
    const Matrix dy_TO = labelled ? Matrix(Matrix::Zero(y_TO.rows(), y_TO.cols())) : error_of(y_TO, data.train);
    Mixture gradient = moe::zeros_like(mixture);
    mixture.backward(data.train.x_TD, dy_TO, tape, gradient);
    step(adam, mixture, gradient);
    if (is_due(i)) curve.push_back(score(mixture, data.test));
  }
  label_loss.label_of_token.clear();
}

/// Both ways, from the same initial weights, and one expert for everybody.
struct Run {
  Curve in_stages, jointly;
  std::vector<double> one_expert;
};

inline Run train_all(const Data& data, Index steps, moe::Random& random) {
  Run run;
  Mixture mixture = random_mixture(random);
  Mixture joint = mixture;
  Expert one = mixture.experts.front();
  mixture.router.weight_ED.setZero();  // trusts all experts alike until it is taught
  train_experts_separately(mixture, data, steps, run.in_stages);
  train_layer(mixture, true, data, steps, run.in_stages);
  train_layer(mixture, false, data, steps, run.in_stages);
  train_layer(joint, false, data, 3 * steps, run.jointly);
  moe::AdamW adam{one, options};
  for (Index i = 0; i < 3 * steps; ++i) {
    train_alone(one, adam, data.train);
    if (!is_due(i)) continue;
    Matrix y_TO(data.test.tokens(), one.output_width());
    Expert::Tape tape;
    one.forward(data.test.x_TD, y_TO, tape);
    run.one_expert.push_back(share_of_right(y_TO, data.test.vowel));
  }
  return run;
}

}  // namespace regimes
