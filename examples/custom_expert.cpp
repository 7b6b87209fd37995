// An expert of your own is a plain struct on plain matrices: what it saves for the backward pass, the two passes, and
// the names of its parameters. moe/concepts.hpp is the page to read. Its gradients are checked by one call.
#include <iostream>
#include <random>
#include <stdexcept>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"

/// y = x + tanh(x down') up': a bottleneck beside the identity.
template <class S>
struct Adapter {
  moe::Matrix<S> down_FD, up_DF;

  struct Tape {
    moe::Matrix<S> hidden_NF;
  };

  // Optional, as the layer asks: refuse tokens that do not fit. Without it, Eigen asserts, if at all.
  void check(moe::Index width) const {
    if (down_FD.cols() != width || up_DF.rows() != width)
      throw std::invalid_argument("Adapter: tokens of another width");
  }

  void forward(moe::ConstMatrixRef<S> x, moe::MatrixRef<S> y, Tape& tape) const {
    tape.hidden_NF = (x * down_FD.transpose()).array().tanh();
    y = x + tape.hidden_NF * up_DF.transpose();
  }

  // Adds to the gradient, writes dx.
  void backward(moe::ConstMatrixRef<S> x, moe::ConstMatrixRef<S> dy, Tape& tape, moe::MatrixRef<S> dx,
                Adapter& gradient) const {
    const moe::Matrix<S> dsum_NF = (dy * up_DF).array() * (1 - tape.hidden_NF.array().square());
    gradient.up_DF += dy.transpose() * tape.hidden_NF;
    gradient.down_FD += dsum_NF.transpose() * x;
    dx = dy + dsum_NF * down_FD;
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("down", self.down_FD...);
    f("up", self.up_DF...);
  }
};

static_assert(moe::TrainableExpert<Adapter<float>, float>);

int main() {
  const moe::Index width = 8, hidden = 3, tokens = 64;
  std::mt19937_64 rng{1};
  const auto report = moe::testing::check_gradients(
      Adapter<double>{moe::random_matrix<double>(hidden, width, rng), moe::random_matrix<double>(width, hidden, rng)},
      moe::random_matrix<double>(5, width, rng));
  std::cout << report << '\n';

  std::vector<Adapter<float>> experts;
  for (int e = 0; e < 4; ++e)
    experts.push_back({moe::random_matrix<float>(hidden, width, rng), moe::random_matrix<float>(width, hidden, rng)});
  moe::Layer layer{moe::Router<float>::random(4, width, rng), moe::TopK{.k = 2}, experts};

  decltype(layer)::Tape tape;
  const moe::Matrix<float> x = moe::random_matrix<float>(tokens, width, rng), y = layer.forward(x, tape);
  std::cout << "a layer of " << layer.experts.size() << " experts, " << moe::parameter_count(layer)
            << " parameters: " << moe::load_of(tape.plan) << '\n';
  return report && y.allFinite() ? 0 : 1;
}
