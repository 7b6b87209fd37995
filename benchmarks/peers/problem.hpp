// What all implementations compute: one layer's shape, its weights as plain row-major matrices, and its tokens.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <moe/core/core.hpp>
#include <moe/core/executor.hpp>
#include <vector>

#include "../support/shape.hpp"

namespace bench {

using moe::Index;
using Rows = moe::Matrix<float>;

enum class Activation { swiglu, relu, gelu_tanh };

/// A parameter; those of experts are one matrix (outputs, inputs) for each.
enum class Part { router, w1, w3, w2 };

/// Uniform numbers of variance `stddev`^2, each a function of its place alone: a billion of them take a second.
inline void fill_uniform(std::uint64_t seed, double stddev, Index first_row, moe::MatrixRef<float> rows) {
  const double scale = stddev * std::sqrt(12.0) / 16777216.0;
  moe::DefaultExecutor{}.parallel_for(rows.rows(), [&](Index r) {
    const auto row = static_cast<std::uint64_t>(first_row + r) * static_cast<std::uint64_t>(rows.cols());
    for (Index c = 0; c < rows.cols(); ++c) {  // the finaliser of SplitMix64
      std::uint64_t z = (row + static_cast<std::uint64_t>(c) + 1) * 0x9E3779B97F4A7C15u + seed * 0xD1B54A32D192ED03u;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      rows(r, c) = static_cast<float>((static_cast<double>(z >> 40) - 8388607.5) * scale);
    }
  });
}

/// Of a training step that begins with this problem.
struct StepSettings {
  double learning_rate, weight_decay, epsilon, clip_norm;
};

/// y_t = sum over the k experts with the highest logits of weight * expert(x_t); the weights are the chosen
/// probabilities divided by their sum, as in Mixtral, or for k = 1 the probability itself, as in Switch.
struct Problem {
  Shape shape;
  Activation activation;
  Rows x_TD, dy_TD, router_ED;
  Rows w1_EFD, w3_EFD, w2_EDF;  ///< Expert after expert: (E F, D), (E F, D), (E D, F). Without a gate w3 is empty.

  Problem(const Shape& shape_, Activation activation_) : shape(shape_), activation(activation_) {
    const auto [width, hidden, experts, k, tokens] = shape;
    x_TD.resize(tokens, width);
    dy_TD.resize(tokens, width);
    router_ED.resize(experts, width);
    w1_EFD.resize(experts * hidden, width);
    if (gated()) w3_EFD.resize(experts * hidden, width);
    w2_EDF.resize(experts * width, hidden);
    fill_uniform(1, 1, 0, x_TD);
    fill_uniform(2, 1, 0, dy_TD);
    draw_weights();
    redraw_ties();
  }

  /// The same ones every time: after an implementation has trained them.
  void draw_weights() {
    const double of_width = 1 / std::sqrt(static_cast<double>(shape.width));
    fill_uniform(3, of_width, 0, router_ED);
    fill_uniform(4, of_width, 0, w1_EFD);
    fill_uniform(5, of_width, 0, w3_EFD);
    fill_uniform(6, 1 / std::sqrt(static_cast<double>(shape.hidden)), 0, w2_EDF);
  }

  bool gated() const { return activation == Activation::swiglu; }
  Index matrices() const { return gated() ? 3 : 2; }
  auto w1(Index e) const { return w1_EFD.middleRows(e * shape.hidden, shape.hidden); }
  auto w3(Index e) const { return w3_EFD.middleRows(e * shape.hidden, shape.hidden); }
  auto w2(Index e) const { return w2_EDF.middleRows(e * shape.width, shape.width); }
  Rows weight(Part part, Index e) const {
    return part == Part::router ? router_ED : part == Part::w1 ? w1(e) : part == Part::w3 ? w3(e) : w2(e);
  }
  double parameters() const {
    return static_cast<double>(router_ED.size() + w1_EFD.size() + w3_EFD.size() + w2_EDF.size());
  }

  /// Epsilon is as large as a tenth of the clipped gradient's entries: else the result would not show what clipping
  /// did, and where an entry is nearly 0, the sign of rounding would be all of its step.
  StepSettings step_settings() const {
    return {.learning_rate = 1e-4, .weight_decay = 0.01, .epsilon = 0.1 / std::sqrt(parameters()), .clip_norm = 1};
  }

  /// Of the weights of all experts.
  static double bytes(const Shape& shape, Activation activation) {
    return (activation == Activation::swiglu ? 12.0 : 8.0) * static_cast<double>(shape.experts * shape.width) *
           static_cast<double>(shape.hidden);
  }

 private:
  /// Implementations sum in different orders: where the k-th and the next logit are as good as equal, they would choose
  /// differently, and rightly so. Such tokens are drawn anew.
  void redraw_ties() {
    if (shape.k == shape.experts) return;
    moe::DefaultExecutor{}.parallel_for(shape.tokens, [&](Index t) {
      for (std::uint64_t seed = 7; is_tie(t); ++seed) {
        float* const row = x_TD.row(t).data();
        fill_uniform(seed, 1, t, Eigen::Map<Rows>(row, 1, shape.width));
      }
    });
  }

  bool is_tie(Index t) const {
    moe::Vector<float> logits_E = router_ED.lazyProduct(x_TD.row(t).transpose());
    float* const kth = logits_E.data() + shape.k;
    std::nth_element(logits_E.data(), kth, logits_E.data() + shape.experts, std::greater<>());
    return *std::min_element(logits_E.data(), kth) - *kth < 1e-4f;
  }
};

}  // namespace bench
