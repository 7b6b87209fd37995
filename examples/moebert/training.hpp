// Training on the labels, and distillation from a trained network.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <stdexcept>
#include <vector>

#include "../support/budget.hpp"
#include "moe/moe.hpp"
#include "network.hpp"

namespace moebert {

/// Pictures with what the gates and the losses need to know of them.
struct Images {
  Matrix x_TD;
  std::vector<Index> label;
  std::vector<std::int64_t> id;  ///< Of Hash.

  Index count() const { return x_TD.rows(); }
  moe::Batch<float> batch() const {
    moe::Batch<float> tokens(x_TD);
    tokens.ids = id;
    return tokens;
  }
  Images rows(const std::vector<Index>& of) const {
    Images some{x_TD(of, Eigen::seqN(0, x_TD.cols())), {}, {}};
    for (const Index row : of) {
      some.label.push_back(label[static_cast<std::size_t>(row)]);
      some.id.push_back(id[static_cast<std::size_t>(row)]);
    }
    return some;
  }
};

/// Shares of right answers on the test, at equal distances of the training: before it, ..., after it.
using Curve = std::vector<double>;
inline constexpr Index points_of_curve = 20;

template <class Ffn>
double accuracy(const Network<Ffn>& network, const Images& images) {
  typename Network<Ffn>::Tape tape;
  const Matrix& logits_TO = network.forward(images.batch(), tape);
  Index right = 0, answer = 0;
  for (Index t = 0; t < images.count(); ++t) {
    logits_TO.row(t).maxCoeff(&answer);
    right += answer == images.label[static_cast<std::size_t>(t)] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(images.count());
}

/// d(mean cross-entropy) / d logits, and 0 for the other states.
inline States label_slope(const States& states, const Images& images) {
  const Matrix& logits_TO = states.logits_TO;
  Matrix error_TO = (logits_TO.colwise() - logits_TO.rowwise().maxCoeff()).array().exp();
  error_TO.array().colwise() /= error_TO.rowwise().sum().array().eval();
  for (Index t = 0; t < images.count(); ++t) error_TO(t, images.label[static_cast<std::size_t>(t)]) -= 1;
  return {Matrix::Zero(states.embedded_TD.rows(), states.embedded_TD.cols()),
          Matrix::Zero(states.block_TD.rows(), states.block_TD.cols()), error_TO / static_cast<float>(images.count())};
}

/// The paper's objective: cross-entropy with the labels, and, layer by layer, the squared distance from the teacher's
/// states, and the symmetric divergence from its answers.
inline States distillation_slope(const States& student, const States& teacher, const Images& images) {
  States slope = label_slope(student, images);
  const moe::MeanSquaredDistillation squared;
  squared.backward<float>(student.embedded_TD, teacher.embedded_TD, 1, slope.embedded_TD);
  squared.backward<float>(student.block_TD, teacher.block_TD, 1, slope.block_TD);
  moe::SoftLabelDistillation{.symmetric = true}.backward<float>(student.logits_TO, teacher.logits_TO, 1,
                                                                slope.logits_TO);
  return slope;
}

struct Schedule {
  Index steps;
  double seconds;  ///< Instead of the steps if greater than 0.
  double learning_rate;
  double weight_decay;
  Index batch = 64;
};

/// AdamW on small batches; `slope(states, images)` is the gradient of the objective.
template <class Ffn, class Slope>
Curve train(Network<Ffn>& network, const Images& images, const Images& test, const Schedule& schedule,
            moe::Random& random, Slope&& slope) {
  moe::AdamW adam{network, {.weight_decay = schedule.weight_decay}};
  Network<Ffn> gradient = moe::zeros_like(network);
  typename Network<Ffn>::Tape tape;
  std::vector<Index> rows(static_cast<std::size_t>(schedule.batch));
  Curve curve{accuracy(network, test)};
  const example::Pace pace(schedule.steps, schedule.seconds);
  for (Index step = 0; curve.size() <= points_of_curve;) {
    for (Index& row : rows) row = static_cast<Index>(random.uniform() * static_cast<double>(images.count()));
    const Images batch = images.rows(rows);
    network.forward(batch.batch(), tape);
    moe::set_zero(gradient);
    network.backward(batch.batch(), slope(tape.states, batch), tape, gradient);
    adam.options.learning_rate = schedule.learning_rate * (1 - pace.fraction(step));
    if (!adam.step(network, gradient)) throw std::runtime_error("the gradient is not finite");
    for (const double done = pace.fraction(++step) * points_of_curve; static_cast<double>(curve.size()) <= done;)
      curve.push_back(accuracy(network, test));
  }
  return curve;
}

/// What a student is to come close to: the teacher's states, row by row of the training set.
inline auto distillation_from(const Network<Dense>& teacher) {
  return [&teacher, tape = Network<Dense>::Tape{}](const States& student, const Images& batch) mutable {
    teacher.forward(batch.batch(), tape);
    return distillation_slope(student, tape.states, batch);
  };
}

/// The importance of the hidden units: that of every example by itself, since absolute values are added up.
inline Vector importance_of_units(const Network<Dense>& network, const Images& images) {
  Network<Dense> gradient = moe::zeros_like(network);
  Network<Dense>::Tape tape;
  Vector importance_F;
  for (Index t = 0; t < images.count(); ++t) {
    const Images one = images.rows({t});
    network.forward(one.batch(), tape);
    moe::set_zero(gradient);
    network.backward(one.batch(), label_slope(tape.states, one), tape, gradient);
    moe::add_neuron_importance(network.ffn, gradient.ffn, importance_F);
  }
  return importance_F;
}

/// Of one forward pass over all images, in microseconds of the processor an image: the median of so many, one thread.
template <class Ffn>
double microseconds_per_image(const Network<Ffn>& network, const Images& images, int passes) {
  typename Network<Ffn>::Tape tape;
  std::vector<double> times;
  for (int i = 0; i < passes; ++i) {
    const std::clock_t start = std::clock();
    network.forward(images.batch(), tape);
    times.push_back(1e6 / CLOCKS_PER_SEC * static_cast<double>(std::clock() - start) /
                    static_cast<double>(images.count()));
  }
  std::nth_element(times.begin(), times.begin() + passes / 2, times.end());
  return times[static_cast<std::size_t>(passes / 2)];
}

}  // namespace moebert
