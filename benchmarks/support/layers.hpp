// The layers that are measured: their shapes, their work and the memory they read.
#pragma once

#include <cstddef>
#include <moe/moe.hpp>
#include <type_traits>
#include <vector>

#include "data.hpp"
#include "roofline.hpp"
#include "shape.hpp"

namespace bench {

inline Shape shape_of(const benchmark::State& state) {
  return {state.range(0), state.range(1), state.range(2), state.range(3), state.range(4)};
}

inline void name_arguments(benchmark::internal::Benchmark* b) {
  b->ArgNames({"D", "F", "E", "k", "T"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

/// All experts start equal: drawing a billion weights would take longer than the measurement.
template <class X>
auto make_layer(const Shape& shape) {
  std::mt19937_64 rng(42);
  const moe::TopK gate{
      .k = shape.k,
      .weights = shape.k == 1 ? moe::ChoiceWeights::probabilities() : moe::ChoiceWeights::softmax_of_chosen()};
  return moe::Layer{moe::Router<float>::random(shape.experts, shape.width, rng), gate,
                    std::vector<X>(static_cast<std::size_t>(shape.experts), X::random(shape.width, shape.hidden, rng)),
                    moe::Losses{moe::LoadBalanceLoss{}, moe::RouterZLoss{}}};
}

/// Of a forward pass; a multiply-add counts twice.
template <class Layer>
double forward_flops(const Layer& layer, const Shape& shape) {
  const auto active = static_cast<double>(shape.k * moe::parameter_count(layer.experts.front()));
  return 2 * static_cast<double>(shape.tokens) * (active + static_cast<double>(shape.width * shape.experts));
}

/// The weights of the experts that got tokens, which have to be read once.
template <class Layer>
double weight_bytes(const Layer& layer, const typename Layer::Tape& tape) {
  Index parameters = 0;
  for (std::size_t e = 0; e < layer.experts.size(); ++e)
    if (tape.plan.rows_of(static_cast<Index>(e)) > 0) parameters += moe::parameter_count(layer.experts[e]);
  return static_cast<double>(parameters) * sizeof(float);
}

// The grid. A: few wide experts; B: many, k = 8; C: Switch; D: the number of experts grows at the same work per token.
inline void shapes_a(benchmark::internal::Benchmark* b) {
  name_arguments(b);
  for (const Index tokens : {1, 4, 16, 64, 256, 1024}) b->Args({1024, 3584, 8, 2, tokens});
}
inline void shapes_b(benchmark::internal::Benchmark* b) {
  name_arguments(b);
  for (const Index tokens : {1, 16, 128, 1024}) b->Args({2048, 1024, 64, 8, tokens});
}
inline void shapes_c(benchmark::internal::Benchmark* b) {
  name_arguments(b);
  for (const Index experts : {8, 64, 256})
    for (const Index tokens : {1024, 4096}) b->Args({768, 3072, experts, 1, tokens});
}
inline void shapes_d(benchmark::internal::Benchmark* b) {
  name_arguments(b);
  for (const Index k : {2, 4})
    for (const Index experts : {8, 32, 128, 512, 1024}) b->Args({512, 512, experts, k, 4096});
}

}  // namespace bench
