// WideNet (Xue et al. 2022, "Go Wider Instead of Deeper"): one layer used at several depths, with a normalisation of
// its own at each. The library needs nothing for it: the layer is a value, every use has a tape of its own, and a
// backward pass adds to the one gradient.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace shared_depths_test {

using moe::Index;
using Matrix = moe::Matrix<double>;
using MoeLayer = moe::Layer<moe::Router<double>, moe::TopK, moe::Mlp<double, moe::Gelu>>;

/// Every row to mean 0 and variance 1, then scale and shift.
struct LayerNorm {
  moe::Vector<double> scale_D, shift_D;

  struct Tape {
    Matrix unit_TD;
    moe::Vector<double> stddev_T;
  };

  void forward(moe::ConstMatrixRef<double> x_TD, moe::MatrixRef<double> y_TD, Tape& tape) const {
    tape.unit_TD = x_TD.colwise() - x_TD.rowwise().mean();
    tape.stddev_T = (tape.unit_TD.array().square().rowwise().mean() + 1e-5).sqrt();
    tape.unit_TD.array().colwise() /= tape.stddev_T.array();
    y_TD = (tape.unit_TD.array().rowwise() * scale_D.transpose().array()).rowwise() + shift_D.transpose().array();
  }

  void backward(moe::ConstMatrixRef<double>, moe::ConstMatrixRef<double> dy_TD, Tape& tape,
                moe::MatrixRef<double> dx_TD, LayerNorm& gradient) const {
    gradient.scale_D += dy_TD.cwiseProduct(tape.unit_TD).colwise().sum().transpose();
    gradient.shift_D += dy_TD.colwise().sum().transpose();
    const Matrix dunit_TD = dy_TD.array().rowwise() * scale_D.transpose().array();
    const moe::Vector<double> along_T = dunit_TD.cwiseProduct(tape.unit_TD).rowwise().mean();
    dx_TD = dunit_TD.colwise() - dunit_TD.rowwise().mean();
    dx_TD -= (tape.unit_TD.array().colwise() * along_T.array()).matrix();
    dx_TD.array().colwise() /= tape.stddev_T.array();
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
    f("shift", self.shift_D...);
  }
};

/// x <- x + layer(norm_i(x)) for each depth i.
struct WideNet {
  MoeLayer shared;
  std::vector<LayerNorm> norms;

  struct Depth {
    LayerNorm::Tape norm;
    MoeLayer::Tape layer;
    Matrix normed_TD, y_TD, dnormed_TD, dx_TD;
  };
  using Tape = std::vector<Depth>;

  void forward(moe::ConstMatrixRef<double> x_TD, moe::MatrixRef<double> y_TD, Tape& tape) const {
    tape.resize(norms.size());
    y_TD = x_TD;
    for (std::size_t i = 0; i < norms.size(); ++i) {
      tape[i].normed_TD.resize(x_TD.rows(), x_TD.cols());
      norms[i].forward(y_TD, tape[i].normed_TD, tape[i].norm);
      y_TD += shared.forward(tape[i].normed_TD, tape[i].layer);
    }
  }

  void backward(moe::ConstMatrixRef<double>, moe::ConstMatrixRef<double> dy_TD, Tape& tape,
                moe::MatrixRef<double> dx_TD, WideNet& gradient) const {
    dx_TD = dy_TD;
    for (std::size_t i = norms.size(); i-- > 0;) {
      Depth& depth = tape[i];
      depth.dnormed_TD = shared.backward(depth.normed_TD, dx_TD, depth.layer, gradient.shared);
      depth.dx_TD.resize(dx_TD.rows(), dx_TD.cols());
      norms[i].backward(depth.normed_TD, depth.dnormed_TD, depth.norm, depth.dx_TD, gradient.norms[i]);
      dx_TD += depth.dx_TD;
    }
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("shared", f, self.shared...);
    moe::visit_list("norms", f, self.norms...);
  }
};

WideNet widenet(std::size_t depths) {
  std::mt19937_64 rng(1);
  constexpr Index experts = 4, width = 6, hidden = 8;
  const MoeLayer layer{support::random_router(experts, width, rng), moe::TopK{.k = 2},
                       support::random_experts<moe::Mlp<double, moe::Gelu>>(experts, width, hidden, rng)};
  const LayerNorm norm{moe::Vector<double>::Ones(width), moe::Vector<double>::Zero(width)};
  WideNet net{layer, std::vector(depths, norm)};
  for (LayerNorm& own : net.norms) own = support::randomized(own, rng, 1);
  return net;
}

Matrix tokens() {
  std::mt19937_64 rng(2);
  return support::random_matrix(7, 6, rng);
}

TEST(SharedDepths, TheGradientAddsUpOverTheDepths) {
  for (const std::size_t depths : {1u, 3u}) {
    const auto report = moe::testing::check_gradients(widenet(depths), tokens(), support::gradient_options());
    EXPECT_TRUE(report) << depths << " depths: " << report;
  }
}

/// The sum is over all depths: none of them alone gives it.
TEST(SharedDepths, EveryDepthHasItsPart) {
  const WideNet net = widenet(2);
  WideNet::Tape tape;
  WideNet gradient = moe::zeros_like(net);
  const Matrix x_TD = tokens();
  Matrix y_TD(7, 6), dx_TD(7, 6);
  net.forward(x_TD, y_TD, tape);
  net.backward(x_TD, y_TD, tape, dx_TD, gradient);
  MoeLayer last = moe::zeros_like(net.shared);
  net.shared.backward(tape[1].normed_TD, y_TD, tape[1].layer, last);
  const moe::Vector<double> of_first = moe::flatten(gradient.shared) - moe::flatten(last);
  EXPECT_GT(moe::flatten(last).norm(), 0.01);
  EXPECT_GT(of_first.norm(), 0.01);
}

TEST(SharedDepths, TrainsAsOneModel) {
  WideNet net = widenet(3);
  moe::AdamW adam{net, {.learning_rate = 1e-2}};
  const Matrix x_TD = tokens(), target_TD = x_TD.rowwise().reverse();
  Matrix y_TD(7, 6), dx_TD(7, 6);
  WideNet::Tape tape;
  double first = 0, last = 0;
  for (int step = 0; step < 100; ++step) {
    net.forward(x_TD, y_TD, tape);
    last = (y_TD - target_TD).squaredNorm();
    if (step == 0) first = last;
    WideNet gradient = moe::zeros_like(net);
    net.backward(x_TD, y_TD - target_TD, tape, dx_TD, gradient);
    ASSERT_TRUE(adam.step(net, gradient));
  }
  EXPECT_LT(last, first / 10);
}

}  // namespace shared_depths_test
