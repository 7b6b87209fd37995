// Gradients of a layer that is trained by a loss on its slots.
#pragma once

#include "check_case.hpp"
#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"

namespace gradients {

/// check_layer_gradients, with a loss on the slots in the place of a random upstream gradient.
template <class Layer, class SlotLoss>
moe::testing::GradientReport check_slot_gradients(const Layer& layer, const Setting& setting,
                                                  const moe::Matrix<double>& tokens_TD, const SlotLoss& slot_loss,
                                                  const moe::Matrix<double>& target_TO) {
  Layer model = layer;
  moe::Matrix<double> x_TD = tokens_TD;
  const moe::Batch<double> batch = setting.batch(x_TD);
  const auto loss = [&] {
    typename Layer::Tape tape;
    model.forward(batch, tape);
    return slot_loss.template value<double>(tape.plan, tape.y_NO, target_TO) + model.auxiliary_loss(tape);
  };
  typename Layer::Tape tape;
  model.forward(batch, tape);
  moe::Matrix<double> dy_NO = moe::Matrix<double>::Zero(tape.y_NO.rows(), tape.y_NO.cols());
  moe::Matrix<double> dx_TD(x_TD.rows(), x_TD.cols());
  moe::Vector<double> dweight_N = moe::Vector<double>::Zero(tape.plan.slots());
  slot_loss.template backward<double>(tape.plan, tape.y_NO, target_TO, 1, dy_NO, dweight_N);
  Layer gradient = moe::zeros_like(model);
  model.backward_from_slots(batch, dy_NO, dweight_N, tape, dx_TD, gradient);

  moe::testing::GradientReport report;
  const moe::testing::GradientOptions options = support::gradient_options({.tolerance = gradient_tolerance});
  moe::testing::check_tensor("x", x_TD.data(), dx_TD.data(), x_TD.size(), loss, options, report);
  moe::testing::check_parameters(model, gradient, loss, options, report);
  return report;
}

}  // namespace gradients
