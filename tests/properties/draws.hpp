// What the properties draw: sizes that rapidcheck can shrink, and from a drawn seed everything else.
#pragma once

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/one_thread.hpp"
#include "support/random_model.hpp"

namespace properties {

using moe::Index;
using Matrix = moe::Matrix<double>;

/// 200 cases of each property, the same in every run, unless the environment says otherwise.
inline const int cases_are_set = setenv("RC_PARAMS", "max_success=200 seed=1", 0);

struct Sizes {
  Index experts, k, tokens, width, hidden;
  moe::TopK top_k;  // of that k
  std::mt19937_64 rng;
};

inline moe::TopK draw_top_k(Index experts, Index k) {
  using W = moe::ChoiceWeights;
  const bool may_normalize = k > 1 || experts == 1;
  const auto weights =
      may_normalize ? *rc::gen::element(W::softmax_of_chosen(), W::renormalized(), W::probabilities(), W::uniform())
                    : *rc::gen::element(W::probabilities(), W::uniform());
  return {.k = k, .weights = weights};
}

inline Sizes draw_sizes(Index fewest_tokens = 0, Index fewest_experts = 1) {
  const auto experts = *rc::gen::inRange<Index>(fewest_experts, 9);
  const auto k = *rc::gen::inRange<Index>(1, experts + 1);
  return {.experts = experts,
          .k = k,
          .tokens = *rc::gen::inRange<Index>(fewest_tokens, 25),
          .width = *rc::gen::inRange<Index>(1, 24),
          .hidden = *rc::gen::inRange<Index>(1, 24),
          .top_k = draw_top_k(experts, k),
          .rng = std::mt19937_64(*rc::gen::arbitrary<std::uint64_t>())};
}

template <class X = moe::SwiGlu<double>>
std::vector<X> random_experts(Sizes& sizes) {
  return support::random_experts<X>(sizes.experts, sizes.width, sizes.hidden, sizes.rng);
}

inline moe::Router<double> random_router(Sizes& sizes) {
  return support::random_router(sizes.experts, sizes.width, sizes.rng);
}

inline Matrix random_tokens(Sizes& sizes) { return support::random_matrix(sizes.tokens, sizes.width, sizes.rng); }

inline auto top_k_layer(Sizes& sizes) { return moe::Layer{random_router(sizes), sizes.top_k, random_experts(sizes)}; }

inline std::vector<Index> random_order(Index count, std::mt19937_64& rng) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), Index{0});
  for (Index i = count; i-- > 1;)
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(moe::detail::random_index(rng, i + 1))]);
  return order;
}

/// The rows of the list, in its order.
inline Matrix rows(const Matrix& matrix, const std::vector<Index>& list) {
  Matrix result(static_cast<Index>(list.size()), matrix.cols());
  for (std::size_t i = 0; i < list.size(); ++i) result.row(static_cast<Index>(i)) = matrix.row(list[i]);
  return result;
}

template <class A, class B>
bool is_close(const Eigen::DenseBase<A>& left, const Eigen::DenseBase<B>& right, double tolerance = 1e-12) {
  const auto a = left.derived().array(), b = right.derived().array();
  return a.size() == 0 || (a - b).abs().maxCoeff() <= tolerance * (1 + b.abs().maxCoeff());
}

inline bool is_close(double a, double b, double tolerance = 1e-12) {
  return std::abs(a - b) <= tolerance * (1 + std::abs(b));
}

template <class M>
bool is_zero(const M& matrix) {
  return (matrix.array() == 0).all();
}

/// Output, gradients and auxiliary loss of one step, in which dy is the same for the same row.
template <class Layer>
struct Step {
  typename Layer::Tape tape;
  Matrix y_TD, dx_TD;
  Layer gradient;
  double auxiliary = 0;

  Step(const Layer& layer, const moe::Batch<double>& batch, const Matrix& dy_TD, typename Layer::Tape tape_ = {})
      : tape(std::move(tape_)), gradient(moe::zeros_like(layer)) {
    y_TD = layer.forward(batch, tape);
    auxiliary = layer.auxiliary_loss(tape);
    dx_TD = layer.backward(batch, dy_TD, tape, gradient);
  }
};

}  // namespace properties
