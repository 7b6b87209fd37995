// The library's own layer, as one of the implementations that are compared. It runs on OpenMP's threads, as they do:
// two sets of threads would be in each other's way.
#pragma once

#include <cstddef>
#include <memory>
#include <moe/moe.hpp>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "../support/machine.hpp"
#include "peer.hpp"

namespace bench {

template <class X>
class MoeLayer final : public Peer {
 public:
  MoeLayer(const Problem& problem, Pass pass)
      : problem_(problem), layer_(router_of(problem), gate_of(problem), experts_of(problem)) {
    tape_.keep_activations = pass != Pass::forward;  // the other implementations keep none either
    if (pass == Pass::forward) return;
    gradient_ = moe::zeros_like(layer_);
    tape_ = Tape(1);
    y_TD_ = Rows(problem.shape.tokens, problem.shape.width);
    if (pass != Pass::step) return;
    const StepSettings settings = problem.step_settings();
    adam_.emplace(layer_, moe::AdamWOptions{.learning_rate = settings.learning_rate,
                                            .epsilon = settings.epsilon,
                                            .weight_decay = settings.weight_decay,
                                            .clip_norm = settings.clip_norm,
                                            .zero_gradient = true});
  }

  void forward(Rows& y_TD) override { layer_.forward_into(problem_.x_TD, y_TD, tape_, executor_of(default_threads())); }

  void train(Rows& dx_TD) override {
    layer_.forward_into(problem_.x_TD, y_TD_, tape_, executor_of(default_threads()));
    layer_.backward_into(problem_.x_TD, problem_.dy_TD, tape_, dx_TD, *gradient_, executor_of(default_threads()));
  }

  void step(Rows& dx_TD) override {
    train(dx_TD);
    if (!adam_->step(layer_, *gradient_, executor_of(default_threads())))
      throw std::runtime_error("moe: the gradient is not finite");
  }

  Rows gradient(Part part, Index expert) override { return part_of(*gradient_, part, expert); }
  Rows weight(Part part, Index expert) override { return part_of(layer_, part, expert); }

 private:
  using Layer = moe::Layer<moe::Router<float>, moe::TopK, X>;
  using Tape = typename Layer::Tape;

  static Rows part_of(const Layer& layer, Part part, Index expert) {
    if (part == Part::router) return layer.router.weight_ED;
    const X& of = layer.experts[static_cast<std::size_t>(expert)];
    if (part == Part::w1) return of.w1_FD.matrix();
    if constexpr (requires { of.w3_FD; })
      if (part == Part::w3) return of.w3_FD.matrix();
    return of.w2_DF.matrix();
  }

  static moe::Router<float> router_of(const Problem& problem) { return {problem.router_ED}; }

  static moe::TopK gate_of(const Problem& problem) {
    using W = moe::ChoiceWeights;
    return {.k = problem.shape.k, .weights = problem.shape.k == 1 ? W::probabilities() : W::renormalized()};
  }

  static std::vector<X> experts_of(const Problem& problem) {
    std::vector<X> experts(static_cast<std::size_t>(problem.shape.experts));
    moe::DefaultExecutor{}.parallel_for(problem.shape.experts, [&](Index e) {
      X& expert = experts[static_cast<std::size_t>(e)];
      expert.w1_FD = problem.w1(e);
      if constexpr (requires { expert.w3_FD; }) expert.w3_FD = problem.w3(e);
      expert.w2_DF = problem.w2(e);
    });
    return experts;
  }

  const Problem& problem_;
  Layer layer_;
  std::optional<Layer> gradient_;
  std::optional<moe::AdamW<Layer>> adam_;
  Tape tape_;
  Rows y_TD_;
};

inline std::unique_ptr<Peer> make_moe_layer(const Problem& problem, Pass pass) {
  switch (problem.activation) {
    case Activation::swiglu:
      return std::make_unique<MoeLayer<moe::SwiGlu<float>>>(problem, pass);
    case Activation::relu:
      return std::make_unique<MoeLayer<moe::Mlp<float>>>(problem, pass);
    case Activation::gelu_tanh:
      break;
  }
  return std::make_unique<MoeLayer<moe::Mlp<float, moe::GeluTanh>>>(problem, pass);
}

inline Implementation moe_implementation() {
  const std::vector<Way> way{{"", make_moe_layer}};
  return {"moe", way, way, way};
}

}  // namespace bench
