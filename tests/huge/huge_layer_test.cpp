// A layer whose weights exceed 4 GiB, in matrices of more than 2 GiB each: needs 14 GiB of memory, so it is built only
// with -DMOE_TEST_HUGE=ON.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "moe/moe.hpp"

namespace moe {
namespace huge_layer_test {

constexpr Index width = 24576, hidden = 33280, tokens = 3;

/// An entry that tells its place, so that a wrong address would be seen.
float entry(Index i, Index j) { return static_cast<float>((i * 31 + j * 17) % 257 - 128) / 65536.0f; }

void fill(Weights<float>& w) {
  for (Index p = 0; p < w.panels(); ++p)
    for (Index j = 0; j < w.cols(); ++j)
      for (Index i = 0; i < w.width_of_panel(p); ++i)
        w.panel(p)[j * w.width_of_panel(p) + i] = entry(p * panel_width + i, j);
}

/// Relu(w1 row . x), in double.
double hidden_unit(const Matrix<float>& x, Index t, Index f) {
  double sum = 0;
  for (Index d = 0; d < width; ++d) sum += static_cast<double>(entry(f, d)) * static_cast<double>(x(t, d));
  return sum > 0 ? sum : 0;
}

}  // namespace huge_layer_test

TEST(HugeLayer, OfMoreThan4GiBPassesForwardAndBackward) {
  std::vector<Mlp<float>> experts(1);
  experts[0].w1_FD.resize(hidden, width);
  experts[0].w2_DF.resize(width, hidden);
  fill(experts[0].w1_FD);
  fill(experts[0].w2_DF);
  ASSERT_GT(static_cast<std::size_t>(parameter_count(experts[0])) * sizeof(float), std::size_t{4} << 30);
  Layer layer{Router<float>::zeros(1, width), Softmax{}, std::move(experts)};
  const Matrix<float> x = Matrix<float>::NullaryExpr(tokens, width, [](Index i, Index j) { return entry(j, i + 5); });

  decltype(layer)::Tape tape;
  const Matrix<float> y = layer.forward(x, tape);
  std::vector<double> units(static_cast<std::size_t>(hidden));
  for (const Index t : {Index{0}, tokens - 1}) {
    for (Index f = 0; f < hidden; ++f) units[static_cast<std::size_t>(f)] = hidden_unit(x, t, f);
    for (const Index d : {Index{0}, Index{12345}, width - 1}) {
      double expected = 0, size = 0;
      for (Index f = 0; f < hidden; ++f) {
        const double term = static_cast<double>(entry(d, f)) * units[static_cast<std::size_t>(f)];
        expected += term, size += std::abs(term);
      }
      EXPECT_NEAR(static_cast<double>(y(t, d)), expected, 1e-5 * size) << t << ' ' << d;
    }
  }

  auto gradient = zeros_like(layer);
  Matrix<float> dy = Matrix<float>::Zero(tokens, width);
  dy(tokens - 1, width - 1) = 1;
  layer.backward(x, dy, tape, gradient);
  const Index last = hidden - 1;  // dy is 1 in one place: dw2 there is a hidden unit, dw1 is w2 times x
  EXPECT_NEAR(gradient.experts[0].w2_DF(width - 1, last), hidden_unit(x, tokens - 1, last), 1e-6);
  const bool active = hidden_unit(x, tokens - 1, last) > 0;
  EXPECT_NEAR(gradient.experts[0].w1_FD(last, width - 1),
              active ? entry(width - 1, last) * x(tokens - 1, width - 1) : 0.0f, 1e-9);
}

}  // namespace moe
