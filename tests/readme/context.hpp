// What the code of the documents takes for granted: sizes, a generator, a layer and what is trained with it. Nothing of
// this is defined, since the code is compiled and not run.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "moe/io/safetensors.hpp"
#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"

namespace readme {

extern const moe::Index T, D, E, F, K, O, P, V, k;
extern const float share;
extern std::mt19937_64 rng;

/// The layer of a program, and what goes with it.
using MoeLayer = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;
extern MoeLayer layer, gradient, first, second;
extern MoeLayer::Tape tape, first_tape, second_tape;
extern moe::AdamW<MoeLayer> adam;
extern moe::Matrix<float> x, y, z, dy, target;
extern moe::Batch<float> batch;

/// Parts that tables set or pass.
extern moe::Router<float> router;
extern moe::ScoredTopK gate;
extern moe::DispatchOptions options;
extern moe::Capacity capacity;
extern moe::Hash hash;
extern moe::Replay<float> replay;
extern moe::LoadBalanceLoss loss;
extern moe::Load load, other;
extern std::vector<moe::Mlp<float>> experts;
extern std::vector<double> frequencies;
extern moe::Matrix<float> embeddings;
extern moe::Matrix<float> slots;  ///< The slots of a SoftLayer.
extern moe::SwiGlu<float> dense;

}  // namespace readme
