// The protocol of the paper: plain gradient descent on all 400 cases at once, until the average squared error is .08.
#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>

#include "data.hpp"
#include "systems.hpp"

namespace vowels {

inline constexpr double error_to_reach = .08;  // averaged over cases and the four outputs
inline constexpr moe::Index most_epochs = 6000;

/// What one run came to.
struct Run {
  moe::Index parameters = 0, epochs = 0;
  bool reached = false;              ///< Whether the error fell to `error_to_reach`.
  double train = 0, test = 0;        ///< Shares of right answers: the vowel with the largest output is the answer.
  moe::Index live_experts = 0;       ///< Those with a proportion of more than .05 for at least one training case.
  std::optional<Mixture> mixture{};  ///< The trained one; none if the run was a network's.
};

inline double share_of_right_answers(const Matrix& y_TO, const Set& set) {
  moe::Index right = 0;
  for (moe::Index t = 0; t < y_TO.rows(); ++t) {
    moe::Index answer = 0;
    y_TO.row(t).maxCoeff(&answer);
    if (answer == set.kind[static_cast<std::size_t>(t)]) ++right;
  }
  return static_cast<double>(right) / static_cast<double>(y_TO.rows());
}

/// Trains a Mixture or a HiddenLayerNetwork. The step is taken along the gradient averaged over the cases.
template <class Model>
Run train(Model model, double step, const Data& data) {
  const Set& set = data.train;
  typename Model::Tape tape;
  Model gradient = moe::zeros_like(model);
  moe::Sgd sgd{model, {.learning_rate = step / static_cast<double>(set.target_TO.rows())}};
  Matrix y_TO(set.target_TO.rows(), set.target_TO.cols());
  Run run{.parameters = moe::parameter_count(model)};
  for (;; ++run.epochs) {
    model.forward(set.formants_TD, y_TO, tape);
    run.reached = (y_TO - set.target_TO).array().square().mean() <= error_to_reach;
    if (run.reached || run.epochs == most_epochs) break;
    moe::set_zero(gradient);
    add_gradient(model, set, y_TO, tape, gradient);
    if (!sgd.step(model, gradient)) break;  // the gradient is not finite: diverged
  }
  run.train = share_of_right_answers(y_TO, set);
  if constexpr (std::is_same_v<Model, Mixture>) {
    run.live_experts = (tape.routing.probabilities_TE.colwise().maxCoeff().array() > .05).count();
    run.mixture = model;
  }
  Matrix test_TO(data.test.target_TO.rows(), data.test.target_TO.cols());
  model.forward(data.test.formants_TD, test_TO, tape);
  run.test = share_of_right_answers(test_TO, data.test);
  return run;
}

}  // namespace vowels
