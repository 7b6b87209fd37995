// All that a training does: micro-batches, clipping, a schedule, evaluation, a log, and going on from a file to the
// same bits.
#include <iostream>

#include "moe/io/safetensors.hpp"
#include "moe/moe.hpp"

using moe::Index, moe::Matrix;
using MoeLayer = moe::Layer<moe::Router<float>, moe::NoisyTopK<float>, moe::SwiGlu<float>,
                            moe::Losses<moe::LoadBalanceLoss, moe::RouterZLoss>>;

namespace size {
constexpr Index tokens = 64, width = 16, hidden = 32, experts = 4, micro_batches = 4, steps = 200;
}

MoeLayer new_layer() {
  std::mt19937_64 rng{42};
  return {moe::Router<float>::random(size::experts, size::width, rng),
          moe::NoisyTopK<float>::zeros(size::experts, size::width, {.k = 2}),
          moe::make_experts<moe::SwiGlu<float>>(size::experts, size::width, size::hidden, rng),
          moe::Losses{moe::LoadBalanceLoss{}, moe::RouterZLoss{}}, moe::Capacity::factor(1.25)};
}

struct Training {
  MoeLayer layer = new_layer(), gradient = moe::zeros_like(layer);
  moe::AdamW<MoeLayer> adam{layer, {.weight_decay = 1e-2, .clip_norm = 1, .zero_gradient = true}};
  moe::CosineSchedule schedule{.peak = 1e-2, .total = size::steps, .warmup = 20};
  MoeLayer::Tape tape{/*seed=*/7};  // its generator draws the noise of the gate
  moe::Random data{/*seed=*/3};

  /// Returns the mean squared error.
  double step() {
    const float share = 1.0f / static_cast<float>(size::micro_batches * size::tokens * size::width);
    tape.loss_scale = 1.0f / size::micro_batches;  // the auxiliary losses are averaged, as the error is
    double loss = 0;
    for (Index batch = 0; batch < size::micro_batches; ++batch) {
      const Matrix<float> x = moe::random_matrix<float>(size::tokens, size::width, data), target = x.cwiseAbs();
      const Matrix<float> error = layer.forward(x, tape) - target;
      loss += error.squaredNorm() * share;
      layer.backward(x, 2 * share * error, tape, gradient);  // adds to the gradient
    }
    adam.options.learning_rate = schedule.at(adam.steps);
    if (!adam.step(layer, gradient)) {  // else the gradient is zero again
      std::cout << "a gradient was not finite: nothing has changed\n";
      moe::set_zero(gradient);
    }
    return loss;
  }

  // What a file holds: the layer, the optimiser with its count of steps, and the generators of tape and data.
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("layer", f, self.layer...);
    moe::visit_part("adam", f, self.adam...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    moe::visit_part_buffers("layer", f, self.layer...);
    moe::visit_part_buffers("adam", f, self.adam...);
    moe::visit_part_buffers("tape", f, self.tape...);
    moe::visit_part_buffers("data", f, self.data...);
  }
};

int main() {
  Training training;
  std::mt19937_64 rng{5};
  const Matrix<float> held_out = moe::random_matrix<float>(size::tokens, size::width, rng);
  while (training.adam.steps < size::steps) {
    const double loss = training.step();
    if (training.adam.steps == size::steps / 2) moe::io::save("training_recipe.safetensors", training);
    if (training.adam.steps % 50 != 0) continue;
    const Matrix<float> error = training.layer.forward(held_out) - held_out.cwiseAbs();  // evaluates: without noise
    std::cout << "step " << training.adam.steps << ": error " << loss << ", held out "
              << error.squaredNorm() / static_cast<float>(error.size()) << ", auxiliary loss "
              << training.layer.auxiliary_loss(training.tape);
    for (const moe::LossValue& one : training.layer.losses.report(training.tape.routing)) std::cout << "; " << one;
    std::cout << "; " << moe::load_of(training.tape.plan) << '\n';
  }

  Training resumed;
  moe::io::load("training_recipe.safetensors", resumed);
  while (resumed.adam.steps < size::steps) resumed.step();
  const bool same = moe::flatten(resumed.layer) == moe::flatten(training.layer);
  std::cout << "resumed at step " << size::steps / 2 << ": " << (same ? "the same bits" : "OTHER BITS")
            << " at the end\n";
  return same ? 0 : 1;
}
