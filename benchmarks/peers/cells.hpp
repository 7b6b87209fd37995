// The grid of layers that are compared.
#pragma once

#include <string>
#include <vector>

#include "problem.hpp"

namespace bench {

struct Cell {
  std::string name;
  Shape shape;
  Activation activation;
};

/// A: few wide experts; B: many, k = 8; C: Switch; D: the number of experts grows at the same work per token.
inline std::vector<Cell> grid() {
  std::vector<Cell> cells;
  const auto named = [](const char* letter, Index value) { return letter + std::to_string(value); };
  for (const Index tokens : {1, 4, 16, 64, 256, 1024})
    cells.push_back({named("A/T", tokens), {1024, 3584, 8, 2, tokens}, Activation::swiglu});
  for (const Index tokens : {1, 16, 128, 1024})
    cells.push_back({named("B/T", tokens), {2048, 1024, 64, 8, tokens}, Activation::swiglu});
  for (const Index experts : {8, 64, 256})
    for (const Index tokens : {1024, 4096})
      cells.push_back({named("C/E", experts) + named("/T", tokens), {768, 3072, experts, 1, tokens}, Activation::relu});
  for (const Index k : {2, 4})
    for (const Index experts : {8, 32, 128, 512, 1024})
      cells.push_back({named("D/E", experts) + named("/k", k), {512, 512, experts, k, 4096}, Activation::gelu_tanh});
  return cells;
}

/// Layers so small that a test can afford to compare all implementations on them.
inline std::vector<Cell> tiny_grid() {
  return {{"tiny/swiglu", {24, 40, 5, 2, 37}, Activation::swiglu},
          {"tiny/relu", {32, 48, 4, 1, 19}, Activation::relu},
          {"tiny/gelu", {17, 23, 9, 3, 50}, Activation::gelu_tanh},
          {"tiny/one", {24, 40, 5, 2, 1}, Activation::swiglu}};
}

}  // namespace bench
