#include "support/transformer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"

namespace example {
namespace transformer_test {

using Matrix = moe::Matrix<double>;
using Input = moe::ConstMatrixRef<double>;
using Output = moe::MatrixRef<double>;
using Ffn = moe::Layer<moe::Router<double>, moe::TopK, moe::Mlp<double>>;
constexpr Index length = 5, sequences = 2, width = 8;

Matrix tokens(std::uint64_t seed, Index columns = width) {
  moe::Random random(seed);
  return moe::random_matrix<double>(sequences * length, columns, random);
}

// As experts, so that the library's own check of gradients takes them.
struct NormExpert {
  Norm<double> norm;
  using Tape = Norm<double>::Tape;

  void forward(Input x, Output y, Tape& tape) const {
    Matrix made;
    norm.forward(x, made, tape);
    y = made;
  }
  void backward(Input, Input dy, Tape& tape, Output dx, NormExpert& gradient) const {
    Matrix sum = Matrix::Zero(dx.rows(), dx.cols());
    norm.backward_add(dy, tape, sum, gradient.norm);
    dx = sum;
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("norm", f, self.norm...);
  }
};

struct AttentionExpert {
  SelfAttention<double> attention;
  using Tape = SelfAttention<double>::Tape;

  void forward(Input x, Output y, Tape& tape) const {
    Matrix made;
    attention.forward(x, length, made, tape);
    y = made;
  }
  void backward(Input x, Input dy, Tape& tape, Output dx, AttentionExpert& gradient) const {
    Matrix made;
    attention.backward(x, dy, tape, made, gradient.attention);
    dx = made;
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("attention", f, self.attention...);
  }
};

struct TransformerExpert {
  Transformer<Ffn> transformer;
  using Tape = Transformer<Ffn>::Tape;

  void forward(Input x, Output y, Tape& tape) const {
    Matrix made;
    tape = transformer.tape();
    transformer.forward(x, {.length = length}, made, tape);
    y = made;
  }
  void backward(Input, Input dy, Tape& tape, Output dx, TransformerExpert& gradient) const {
    Matrix made;
    transformer.backward({.length = length}, dy, tape, made, gradient.transformer);
    dx = made;
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::visit_part("transformer", f, self.transformer...);
  }
};

Norm<double> random_norm(Norm<double> norm) {
  moe::Random random(2);
  norm.gain_D = moe::random_matrix<double>(width, 1, random);
  if (norm.is_centered()) norm.bias_D = moe::random_matrix<double>(width, 1, random);
  return norm;
}

/// Of two blocks, with so many attentions and mixtures: one of each is shared.
Transformer<Ffn> random_transformer(int parts) {
  moe::Random random(3);
  Transformer<Ffn> made;
  made.norms.assign(5, random_norm(Norm<double>::rms(width)));
  for (int i = 0; i < parts; ++i) {
    made.attentions.push_back(SelfAttention<double>::random(width, 2, true, true, random));
    made.ffns.push_back(Ffn{moe::Router<double>::random(3, width, random), moe::TopK{.k = 2},
                            moe::make_experts<moe::Mlp<double>>(3, width, 6, random)});
  }
  return made;
}

TEST(Norm, MeanAndSquareAreWhatTheyShouldBe) {
  Norm<double>::Tape tape;
  Matrix y;
  const Matrix x = 3 * tokens(1).array() + 2;
  Norm<double>::layer(width).forward(x, y, tape);
  EXPECT_NEAR(y.row(3).mean(), 0, 1e-12);
  EXPECT_NEAR(y.row(3).squaredNorm() / width, 1, 1e-4);  // but for epsilon
  Norm<double>::rms(width).forward(x, y, tape);
  EXPECT_GT(std::abs(y.mean()), 0.1);
  EXPECT_NEAR(y.row(3).squaredNorm() / width, 1, 1e-4);
}

TEST(Norm, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(moe::testing::check_gradients(NormExpert{random_norm(Norm<double>::layer(width))}, tokens(1),
                                            support::gradient_options()));
  EXPECT_TRUE(moe::testing::check_gradients(NormExpert{random_norm(Norm<double>::rms(width))}, tokens(1),
                                            support::gradient_options()));
}

TEST(SelfAttention, GradientsAgreeWithDifferences) {
  moe::Random random(4);
  for (const bool causal : {true, false})
    for (const bool rotary : {true, false})
      EXPECT_TRUE(moe::testing::check_gradients(
          AttentionExpert{SelfAttention<double>::random(width, 2, causal, rotary, random)}, tokens(5),
          support::gradient_options()));
}

/// The definition, token by token.
Matrix attention_of_one_head(const SelfAttention<double>& attention, const Matrix& x) {
  const Matrix qkv = x * attention.to_qkv.weight_OD.transpose();
  Matrix mixed = Matrix::Zero(x.rows(), width);
  for (Index t = 0; t < x.rows(); ++t) {
    const Index begin = t / length * length, end = attention.causal ? t + 1 : begin + length;
    double sum = 0;
    for (Index s = begin; s < end; ++s) {
      const double score = qkv.row(t).head(width).dot(qkv.row(s).segment(width, width)) / std::sqrt(double{width});
      mixed.row(t) += std::exp(score) * qkv.row(s).tail(width);
      sum += std::exp(score);
    }
    mixed.row(t) /= sum;
  }
  return mixed * attention.to_output.weight_OD.transpose();
}

TEST(SelfAttention, IsItsDefinition) {
  moe::Random random(4);
  for (const bool causal : {true, false}) {
    const auto attention = SelfAttention<double>::random(width, 1, causal, false, random);
    SelfAttention<double>::Tape tape;
    Matrix y;
    attention.forward(tokens(5), length, y, tape);
    EXPECT_LT((y - attention_of_one_head(attention, tokens(5))).norm(), 1e-12);
  }
}

TEST(SelfAttention, RefusesWhatDoesNotDivide) {
  moe::Random random(4);
  EXPECT_THROW(SelfAttention<double>::random(width, 3, true, true, random), std::invalid_argument);
  const auto attention = SelfAttention<double>::random(width, 2, true, true, random);
  SelfAttention<double>::Tape tape;
  Matrix y;
  EXPECT_THROW(attention.forward(tokens(5), 3, y, tape), std::invalid_argument);
}

// Products of turned rows depend on the distance of their positions alone, and lengths stay.
TEST(Rotary, TurnsByThePosition) {
  const Rotary<double> rotary(6, width);
  Matrix a = Matrix(tokens(6).row(0)).replicate(6, 1), b = Matrix(tokens(7).row(0)).replicate(6, 1);
  const Matrix before = a;
  rotary.turn(a);
  rotary.turn(b);
  EXPECT_NEAR(a.row(1).dot(b.row(3)), a.row(3).dot(b.row(5)), 1e-12);
  EXPECT_NEAR(a.row(4).norm(), before.row(4).norm(), 1e-12);
  rotary.turn(a, -1);
  EXPECT_LT((a - before).norm(), 1e-12);
}

TEST(Transformer, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(
      moe::testing::check_gradients(TransformerExpert{random_transformer(2)}, tokens(8), support::gradient_options()));
}

// What the blocks share gets the gradient of both.
TEST(Transformer, GradientsOfSharedPartsAgreeWithDifferences) {
  EXPECT_TRUE(
      moe::testing::check_gradients(TransformerExpert{random_transformer(1)}, tokens(8), support::gradient_options()));
}

TEST(Transformer, RefusesATapeOfAnother) {
  const Transformer<Ffn> transformer = random_transformer(2);
  auto tape = transformer.tape();
  tape.blocks.pop_back();
  Matrix y;
  EXPECT_THROW(transformer.forward(tokens(9), {.length = length}, y, tape), std::invalid_argument);
}

TEST(Transformer, IsCausalAndKeepsSequencesApart) {
  const TransformerExpert expert{random_transformer(2)};
  TransformerExpert::Tape tape;
  Matrix x = tokens(9), before(x.rows(), width), after(x.rows(), width);
  expert.forward(x, before, tape);
  x.row(3).setRandom();
  expert.forward(x, after, tape);
  for (Index t = 0; t < x.rows(); ++t) EXPECT_EQ(before.row(t) == after.row(t), t != 3 && t != 4) << t;
}

}  // namespace transformer_test
}  // namespace example
