// What a newcomer writes first: built and run by each way in which a project can take the library in.
#include <iostream>
#include <moe/moe.hpp>
#include <random>

int main() {
  constexpr moe::Index experts = 4, width = 8, hidden = 16, tokens = 5;
  std::mt19937_64 rng{42};
  const moe::Layer layer{moe::Router<float>::random(experts, width, rng), moe::TopK{.k = 2},
                         moe::make_experts<moe::SwiGlu<float>>(experts, width, hidden, rng)};
  const moe::Matrix<float> x_TD = moe::Matrix<float>::Ones(tokens, width);
  const moe::Matrix<float> y_TD = layer.forward(x_TD);
  std::cout << "moe " << MOE_VERSION << ": " << y_TD.row(0) << '\n';
  return y_TD.rows() == tokens && y_TD.row(0) == y_TD.row(1) && y_TD.norm() > 0 ? 0 : 1;
}
